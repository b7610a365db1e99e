//! Tests of the crate from outside: one program, because each one more has to be linked.

#[path = "../common/mod.rs"]
mod common;

mod admin_jobs;
mod bad_input;
mod cli;
mod client;
mod dead_letters;
mod doctor;
mod drain;
mod layering;
mod live;
mod logs;
mod mail;
mod metrics;
mod mongodb;
mod mysql;
mod openapi;
mod page;
mod quickstart;
mod rabbitmq;
mod services;
mod trace;
