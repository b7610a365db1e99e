//! Tests of the crate from outside: one program, because each one more has to be linked.

mod conformance;
mod mysql;
mod network;
