//! Tokens of the auth service of the well-known Python tutorial, whose services share a secret (HS256, RFC 7518 §3.2).
//!
//! Where that is asked for, they are believed until they end, so that nobody has to log in again when the services change.
//! We sign none. What they say of rights is not believed: there, everybody is an admin. So they do what an API key of all
//! scopes does, and no more.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use microserve_core::account::Email;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::token::{KeyError, LEEWAY, MAX_BYTES};

/// RFC 7518 §3.2: "A key of the same size as the hash output […] or larger MUST be used". Shorter ones can be guessed by
/// whoever has a token.
const LEAST_BYTES: usize = 32;

/// A secret that others have signed tokens with.
#[derive(Clone)]
pub struct JwtSecret(hmac::Key);

/// What one of their tokens says.
#[derive(Deserialize)]
pub(crate) struct Told {
    pub(crate) username: Email,
    /// When it was issued, in seconds since 1970,
    pub(crate) iat: i64,
    /// and until when it is good.
    pub(crate) exp: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
}

impl JwtSecret {
    /// The secret that is called `JWT_SECRET` there.
    ///
    /// # Errors
    /// [`KeyError::ShortSecret`].
    pub fn new(secret: &SecretString) -> Result<Self, KeyError> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < LEAST_BYTES {
            return Err(KeyError::ShortSecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// What a token says, if it is signed with the secret and its time has come and not gone.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Option<Told> {
        let (signed, signature) = token.rsplit_once('.').filter(|_| is_one(token))?;
        let (_, claims) = signed.split_once('.')?;
        hmac::verify(&self.0, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
        let told: Told = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let now = now.as_second();
        ((0..=now + LEEWAY).contains(&told.iat) && now - LEEWAY < told.exp).then_some(told)
    }
}

impl std::fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JwtSecret(…)")
    }
}

/// Whether it looks like one of their tokens, whoever has signed it.
pub(crate) fn is_one(token: &str) -> bool {
    let header = token.split_once('.').filter(|_| token.len() <= MAX_BYTES);
    let header = header.and_then(|(header, _)| URL_SAFE_NO_PAD.decode(header).ok());
    let header = header.and_then(|header| serde_json::from_slice::<Header>(&header).ok());
    header.is_some_and(|header| (&*header.alg, &*header.typ) == ("HS256", "JWT"))
}
