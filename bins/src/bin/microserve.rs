//! The all-in-one server and command line.
fn main() {}
