//! pg-maint
fn main() {}
