//! What a walk over keys adds up to.
