//! What microserve's tests share: media made by ffmpeg, judges of MP3s that are not our own code, a server
//! process, a mail server that does what it is told, a network with faults, and private instances of real servers.
//!
//! Everything here is for tests: what goes wrong panics and says why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that can't go on has failed, and tests read their own environment"
)]

pub mod bytes;
pub mod chaos_proxy;
pub mod hostile;
pub mod judge;
pub mod media;
pub mod port;
pub mod server;
pub mod servers;
pub mod smtp;
