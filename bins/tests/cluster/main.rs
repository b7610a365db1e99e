//! The services as processes of their own, on real servers: what they do together, and what is left when parts of it die.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]
#![allow(clippy::disallowed_methods, reason = "tests have tasks, and wait, as they like")]
#![allow(unreachable_pub, clippy::type_complexity, reason = "modules of one program")]

#[path = "../common/mod.rs"]
mod common;

mod kills;
mod load;
mod network;
mod outages;
mod peers;
mod resume;
mod rolling;
mod services;
mod trace;
mod tus_clients;
mod tutorial;
mod verdict;
mod worlds;
