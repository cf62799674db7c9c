//! Orders, renewal and due dates, on real ACME servers.
