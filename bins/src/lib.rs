//! microserve turns uploaded videos into MP3s: log in, upload, wait for the mail, download.
//!
//! This crate is what people depend on: it re-exports the [`core`] with its ports and use-cases and the adapters that
//! come with it, and it assembles them into a [`server::Server`] by URL. The binary `microserve` is its command line.
//!
//! - To convert a file in your own program, take [`transcoder::NativeTranscoder`]. To decode what it does not, or
//!   otherwise, give it [`transcoder::Codecs`].
//! - To put the gateway into your own axum app, take [`http::gateway`].
//! - To keep blobs, accounts, jobs, messages or mails elsewhere, implement the port's trait, run its suite from
//!   `core::conformance` on it, and add it to a [`registry::Registry`].
//! - Media is read in child processes of your program: call [`child`] first thing in `main`.
//!
#![doc = include_str!("../../README.md")]

pub mod cli;
pub mod config;
mod keys;
mod late;
mod metrics;
mod native;
mod open;
mod process;
pub mod registry;
mod roles;
pub mod server;
pub mod services;
mod telemetry;

pub use microserve_core as core;
pub use microserve_filesystem as filesystem;
#[cfg(feature = "mongodb")]
pub use microserve_gridfs as gridfs;
pub use microserve_http as http;
#[cfg(feature = "mysql")]
pub use microserve_mysql as mysql;
#[cfg(feature = "rabbitmq")]
pub use microserve_rabbitmq as rabbitmq;
pub use microserve_sandbox as sandbox;
pub use microserve_smtp as smtp;
pub use microserve_sqlite as sqlite;
pub use microserve_transcoder as transcoder;
pub use native::{child, child_with};
