//! Accounts: logging in, registering, and one's own.

use microserve_core::api_key::Scope;
use schemars::SchemaGenerator;
use serde_json::json;

use super::call::Call;
use crate::api_keys;
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
            .fails(&[Code::Throttled, Code::Busy, Code::TooSlow])
            .curl(
                "curl -X POST \"$SERVER/register\" -H 'Content-Type: application/json' \\\n  \
                 -d '{\"email\": \"you@example.com\", \"password\": \"eleven green bottles\"}'",
            ),
        Call::new("GET", "/me", "showAccount", "Tell what the account uses, and may use")
            .tag(TAG)
            .bearer_or_key(Scope::Read)
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
        Call::new("GET", "/me/keys", "listApiKeys", "List the account's API keys, the oldest first")
            .tag(TAG)
            .bearer()
            .json::<api_keys::Listed>(200, "Them, but for the keys themselves.", &["Cache-Control"], schemas)
            .curl("curl \"$SERVER/me/keys\" -H \"Authorization: Bearer $TOKEN\""),
        Call::new("POST", "/me/keys", "makeApiKey", "Make an API key")
            .tag(TAG)
            .says(
                "For machines: in a token's place, a key does what its scopes say, until it expires or is revoked, \
                 whatever becomes of the password. It is told in this answer only.",
            )
            .bearer()
            .json_body::<api_keys::Wanted>(&json!({
                "password": "eleven green bottles",
                "name": "build server",
                "scopes": ["upload", "read"],
            }))
            .json::<api_keys::Made>(201, "The key.", &["Cache-Control"], schemas)
            .fails(&[Code::MalformedBody, Code::InvalidCredentials, Code::TooManyKeys, Code::InvalidKey])
            .fails(&[Code::Throttled, Code::Busy, Code::TooSlow])
            .curl(
                "curl -X POST \"$SERVER/me/keys\" -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\\n  \
                 -d '{\"password\": \"eleven green bottles\", \"name\": \"build server\", \"scopes\": [\"upload\", \"read\"]}'",
            ),
        Call::new("DELETE", "/me/keys/{id}", "revokeApiKey", "Revoke an API key")
            .tag(TAG)
            .says("It is good for no more than half a minute then.")
            .bearer()
            .empty(204, "It is revoked.", &[])
            .fails(&[Code::MalformedId, Code::NotFound])
            .curl("curl -X DELETE \"$SERVER/me/keys/$KEY\" -H \"Authorization: Bearer $TOKEN\""),
    ]
}
