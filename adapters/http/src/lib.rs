//! The HTTP face of microserve: gateway, auth and ops as axum routers, and a server that bears the internet.
//!
//! | call | module |
//! |---|---|
//! | `POST /login`, `POST /register`, `PUT /me/password`, `POST /validate`, `GET /.well-known/jwks.json` | `login` |
//! | `GET /me/keys`, `POST /me/keys`, `DELETE /me/keys/{id}` | `api_keys` |
//! | what is about accounts, passed on by a gateway without them | `auth_service` |
//! | `GET /me`, `DELETE /me` | `me` |
//! | `POST /upload`, `PUT /upload/{name}` | `upload`, with `multipart`, `filename`, `body` and `idempotency` |
//! | `/files`, resumable uploads | `tus` |
//! | `GET /jobs`, `GET /jobs/{id}`, `DELETE /jobs/{id}`, `POST /jobs/{id}/retry` | `jobs`, with `prefer` |
//! | `GET /jobs/{id}/events` | `events` |
//! | `POST /jobs/{id}/link`, `DELETE /jobs/{id}/link` | `links` |
//! | `GET /download`, `HEAD /download` | `download`, with [`range`] and `conditional` |
//! | `GET /`, `GET /page/…`, the page for browsers | `page` |
//! | `GET /openapi.json`, `GET /docs`: all of that described | `openapi` |
//! | `GET /healthz`, `GET /readyz`, `GET /version` | `ops` |
//!
//! Around them: `edge` (what every answer has: a request id, and errors as problem documents), `problem` (every error, by its
//! [`Code`], with `remedy`), `token` and `ed25519` (how tokens are made), `bearer` and `basic` (who is calling), `tutorial` and `jwt_secret` (answers for other clients, and their tokens), `serve` with `stream`
//! (connections, and their limits).
//!
//! The routers work below any prefix: `Router::new().nest("/mp3", gateway(…))`.

mod api_keys;
mod auth_service;
mod basic;
mod bearer;
mod body;
mod client_address;
mod code;
mod conditional;
mod download;
mod ed25519;
mod edge;
mod events;
mod filename;
mod gateway;
mod idempotency;
mod jobs;
mod json;
mod jwt_secret;
mod links;
mod login;
mod me;
mod multipart;
mod openapi;
mod ops;
mod page;
mod prefer;
mod problem;
pub mod range;
mod remedy;
mod serve;
mod stream;
mod token;
mod tus;
mod tutorial;
mod upload;

pub use auth_service::{AuthService, AuthServiceError, accounts_elsewhere};
pub use bearer::Verifier;
pub use code::Code;
pub use gateway::{Gateway, gateway};
pub use jwt_secret::JwtSecret;
pub use login::{Auth, Registration, auth, auth_of_gateways};
pub use openapi::document as openapi;
pub use ops::{Check, Checks, Ops, ops};
pub use serve::{Limits, serve};
pub use token::{KeyError, TokenKeys};
pub use tutorial::as_in_the_tutorial;
