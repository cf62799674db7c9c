//! Rotation with proof, or back: nginx, PostgreSQL, Redis.
