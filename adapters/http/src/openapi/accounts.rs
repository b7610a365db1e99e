//! Accounts: logging in, registering, and one's own.

use schemars::SchemaGenerator;
use serde_json::json;

use super::call::Call;
use crate::login::{Newcomer, Passwords, Token};
use crate::me::Me;
use crate::problem::Code;

const TAG: &str = "Accounts";

pub(super) fn calls(schemas: &mut SchemaGenerator) -> Vec<Call> {
    let token = schemas.subschema_for::<Token>();
    let tokens = json!({
        "application/json": { "schema": token },
        "text/plain": { "schema": { "type": "string" } },
    });
    vec![
        Call::new("POST", "/login", "logIn", "Log in")
            .tag(TAG)
            .says("Whoever accepts `text/plain` only gets the bare token.")
            .basic()
            .answer(200, "A token.", &["Cache-Control"], tokens)
            .fails(&[Code::Throttled, Code::Busy])
            .curl("curl -X POST \"$SERVER/login\" -u \"$EMAIL:$PASSWORD\""),
        Call::new("POST", "/register", "register", "Make an account")
            .tag(TAG)
            .says(
                "Whether that is possible, and for whom, is the server's choice. The answer is the same if there is an \
                 account of this address already.",
            )
            .json_body::<Newcomer>(&json!({ "email": "you@example.com", "password": "eleven green bottles" }))
            .empty(201, "There is an account of this address.", &[])
            .fails(&[Code::MalformedBody, Code::RegistrationClosed, Code::InvalidInvitation, Code::WeakPassword])
            .fails(&[Code::Busy, Code::TooSlow])
            .curl(
                "curl -X POST \"$SERVER/register\" -H 'Content-Type: application/json' \\\n  \
                 -d '{\"email\": \"you@example.com\", \"password\": \"eleven green bottles\"}'",
            ),
        Call::new("GET", "/me", "showAccount", "Tell what the account uses, and may use")
            .tag(TAG)
            .bearer()
            .json::<Me<'_>>(200, "The account.", &["Cache-Control"], schemas)
            .curl("curl \"$SERVER/me\" -H \"Authorization: Bearer $TOKEN\""),
        Call::new("DELETE", "/me", "removeAccount", "Remove the account, with its jobs and files")
            .tag(TAG)
            .bearer()
            .empty(204, "It is gone.", &[])
            .curl("curl -X DELETE \"$SERVER/me\" -H \"Authorization: Bearer $TOKEN\""),
        Call::new("PUT", "/me/password", "changePassword", "Change the password")
            .tag(TAG)
            .says("Tokens that were given out before are no longer good after half a minute.")
            .bearer()
            .json_body::<Passwords>(&json!({ "current": "what it is", "new": "eleven green bottles" }))
            .empty(204, "It is changed.", &[])
            .fails(&[Code::MalformedBody, Code::InvalidCredentials, Code::WeakPassword, Code::Throttled])
            .fails(&[Code::Busy, Code::TooSlow])
            .curl(
                "curl -X PUT \"$SERVER/me/password\" -H \"Authorization: Bearer $TOKEN\" \\\n  \
                 -H 'Content-Type: application/json' -d '{\"current\": \"what it is\", \"new\": \"eleven green bottles\"}'",
            ),
    ]
}
