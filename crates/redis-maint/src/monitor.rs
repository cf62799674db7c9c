//! What performance-monitor and check look at, and how it is judged.
