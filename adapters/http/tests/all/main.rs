//! Tests of the crate from outside: one program, because each one more has to be linked.

#[path = "../common/mod.rs"]
mod common;

mod accounts;
mod api_keys;
mod auth_service;
mod downloads;
mod errors;
mod gateway;
mod jwt_secret;
mod links;
mod live;
mod openapi;
mod owners;
mod page;
mod repeated;
mod server;
mod tokens;
mod trace;
mod tus;
mod uploads;
