//! dep-audit, end to end: real lock files, small advisories written for them, and real workspaces.
