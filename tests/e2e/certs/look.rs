//! inspect, inventory and convert.
