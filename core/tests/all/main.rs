//! Tests of the crate from outside: one program, because each one more has to be linked.

mod adopt;
mod conformance;
mod crash;
mod crashes;
mod model;
mod preflight;
mod quota;
mod relay;
mod resume;
mod state_machine;
mod trace;
mod watch;
