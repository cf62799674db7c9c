//! PostgreSQL upkeep.
