//! dep-audit, end to end: real lock files, small advisories written for them, and real workspaces.

mod alert;
mod audit;
mod bin;
mod except;
mod forms;
mod outdated;
mod risk;
mod unused;
mod update;
mod update_faults;
mod update_world;
mod week;
