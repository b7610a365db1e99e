//! Tests of the crate from outside: one program, because each one more has to be linked.

#[path = "../common/mod.rs"]
mod common;

mod conformance;
mod external;
mod limits;
mod process;
mod walls;
