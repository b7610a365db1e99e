//! Tokens: signed by Ed25519, believed only if they look exactly as ours do.
//!
//! The profile is RFC 9068 (`typ: at+jwt`) with RFC 8725's advice: the key fixes the algorithm, every claim is
//! required, and a header with anything in it that we don't write is refused unread.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use microserve_core::account::{Account, AccountId};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{ed25519, edge};

/// How long a token is good for. A changed password or a disabled account ends it earlier.
pub(crate) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer tokens are refused unread (bytes).
const MAX_BYTES: usize = 4096;
/// How far two clocks may be apart (seconds).
const LEEWAY: i64 = 30;
/// Both `iss` and `aud`: these tokens are for microserve alone.
const NAME: &str = "microserve";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    /// The account.
    pub(crate) sub: AccountId,
    aud: String,
    exp: i64,
    nbf: i64,
    /// With its milliseconds, which RFC 7519 §2 allows: a token that was issued in the second of a password's change,
    /// but before it, is void.
    iat: f64,
    jti: String,
    /// The account's address.
    pub(crate) username: String,
    pub(crate) admin: bool,
}

impl Claims {
    /// Whether it was issued before a moment.
    pub(crate) fn issued_before(&self, moment: Timestamp) -> bool {
        (self.iat * 1000.0).round() < moment.as_millisecond() as f64
    }

    fn are_good(&self, now: Timestamp) -> bool {
        let (now, leeway) = (now.as_second(), LEEWAY);
        let issued = self.iat.is_finite() && self.iat >= 0.0 && self.iat <= (now + leeway) as f64;
        let in_time = self.nbf <= now + leeway && now - leeway < self.exp;
        self.iss == NAME && self.aud == NAME && !self.jti.is_empty() && issued && in_time
    }
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// It is not one of ours, or no longer good.
    #[error("the token is not valid")]
    Invalid,
    /// None of the keys has signed it; there may be newer ones.
    #[error("the token's key is not known")]
    UnknownKey,
}

/// The keys that tokens are believed by.
pub(crate) struct PublicKeys(Vec<PublicKey>);

struct PublicKey {
    /// The key's thumbprint (RFC 7638).
    id: String,
    /// The key as JWK's `x` (RFC 8037 §2).
    x: String,
    verifying: DecodingKey,
}

impl PublicKey {
    fn new(key: &[u8]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(key);
        // RFC 7638 §3: the required members in lexicographic order, without white space.
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let digest = ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes());
        let id = URL_SAFE_NO_PAD.encode(digest.as_ref());
        Self { id, x, verifying: DecodingKey::from_ed_der(key) }
    }

    /// The one header that a token of this key has.
    fn header(&self) -> Header {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.id.clone());
        header
    }
}

impl PublicKeys {
    /// The Ed25519 keys of a JWK set (RFC 7517 §5, RFC 8037 §2); others are passed over. `None` if it holds none.
    pub(crate) fn from_jwks(jwks: &Value) -> Option<Self> {
        ed25519::install();
        let key = |jwk: &Value| {
            let is_ours = jwk["kty"] == "OKP" && jwk["crv"] == "Ed25519";
            let key = jwk["x"].as_str().filter(|_| is_ours).and_then(|x| URL_SAFE_NO_PAD.decode(x).ok());
            key.filter(|key| key.len() == 32).map(|key| PublicKey::new(&key))
        };
        let keys: Vec<_> = jwks["keys"].as_array()?.iter().filter_map(key).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The keys as a JWK set.
    pub(crate) fn jwks(&self) -> Value {
        let jwk = |key: &PublicKey| json!({"kty": "OKP", "crv": "Ed25519", "x": key.x, "kid": key.id, "use": "sig", "alg": "EdDSA"});
        json!({ "keys": self.0.iter().map(jwk).collect::<Vec<_>>() })
    }

    /// What a token says, if it is one of ours and its time has come and not gone.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        if token.len() > MAX_BYTES {
            return Err(TokenError::Invalid);
        }
        // No `jku`, `jwk`, `x5u`, `crit`, no second way to say the same: the header is the one we write, or refused.
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let key = self.0.iter().find(|key| header == key.header()).ok_or(TokenError::UnknownKey)?;
        let claims: Claims =
            jsonwebtoken::decode(token, &key.verifying, &validation()).map_err(|_| TokenError::Invalid)?.claims;
        if claims.are_good(now) { Ok(claims) } else { Err(TokenError::Invalid) }
    }
}

/// The keys that sign tokens: the last signs, all of them verify, so that a new one can be added while tokens of the
/// old are around.
///
/// ```
/// use microserve_http::TokenKeys;
///
/// let (old, new) = (TokenKeys::generate()?.to_pem(), TokenKeys::generate()?.to_pem());
/// let keys = TokenKeys::from_pems([old.as_str(), new.as_str()])?;
/// assert_eq!(keys.to_pem(), new);
/// # Ok::<_, microserve_http::KeyError>(())
/// ```
pub struct TokenKeys {
    public: PublicKeys,
    /// Of the last.
    signing: EncodingKey,
    header: Header,
}

impl TokenKeys {
    /// One new key.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        let pem = to_pem(document.as_ref());
        Self::from_pems([pem.as_str()])
    }

    /// Keys in PEM (PKCS#8, RFC 8410), as `openssl genpkey -algorithm ed25519` writes them: the last signs, all of
    /// them verify.
    ///
    /// # Errors
    /// [`KeyError::NotEd25519`], [`KeyError::None`].
    pub fn from_pems<'a>(pems: impl IntoIterator<Item = &'a str>) -> Result<Self, KeyError> {
        ed25519::install();
        let (mut public, mut last) = (Vec::new(), None);
        for pem in pems {
            let signing = EncodingKey::from_ed_pem(pem.as_bytes()).map_err(|_| KeyError::NotEd25519)?;
            let pair = ed25519::key_pair(signing.as_bytes()).ok_or(KeyError::NotEd25519)?;
            let key = PublicKey::new(pair.public_key().as_ref());
            last = Some((signing, key.header()));
            public.push(key);
        }
        let (signing, header) = last.ok_or(KeyError::None)?;
        Ok(Self { public: PublicKeys(public), signing, header })
    }

    /// The signing key in PEM: a secret.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem(self.signing.as_bytes())
    }

    /// What others need to believe the tokens.
    pub(crate) fn public(&self) -> &PublicKeys {
        &self.public
    }

    /// A token for an account.
    pub(crate) fn sign(&self, account: &Account, now: Timestamp) -> Result<String, jsonwebtoken::errors::Error> {
        let seconds = now.as_second();
        let claims = Claims {
            iss: NAME.to_owned(),
            sub: account.id,
            aud: NAME.to_owned(),
            exp: seconds.saturating_add_unsigned(LIFETIME.as_secs()),
            nbf: seconds,
            iat: now.as_millisecond() as f64 / 1000.0,
            jti: edge::random_hex(),
            username: account.email.as_str().to_owned(),
            admin: account.admin,
        };
        jsonwebtoken::encode(&self.header, &claims, &self.signing)
    }
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.public.0.iter().map(|key| &key.id)).finish()
    }
}

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    validation.set_audience(&[NAME]);
    validation.set_issuer(&[NAME]);
    // The library reads the computer's clock; ours comes in (`Claims::are_good`).
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

/// RFC 7468.
fn to_pem(pkcs8: &[u8]) -> String {
    let text = STANDARD.encode(pkcs8);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not an Ed25519 private key in PEM.
    #[error("not an Ed25519 private key in PEM (PKCS#8)")]
    NotEd25519,
    /// There is not a single key.
    #[error("there is no key to sign tokens with")]
    None,
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_openssl_is_read_and_named_by_its_thumbprint() {
        // RFC 8037 appendix A.1 and A.3, the private key wrapped in PKCS#8 as OpenSSL does.
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let der = [&hex::decode("302e020100300506032b657004220420").unwrap()[..], &seed].concat();
        let keys = TokenKeys::from_pems([to_pem(&der).as_str()]).unwrap();
        assert_eq!(keys.public.0[0].x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(keys.public.0[0].id, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn keys_are_refused_unless_they_are_ed25519() {
        assert_eq!(TokenKeys::from_pems([]).unwrap_err(), KeyError::None);
        for bad in ["", "not a pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert_eq!(TokenKeys::from_pems([bad]).unwrap_err(), KeyError::NotEd25519, "{bad}");
        }
        let debug = format!("{:?}", TokenKeys::generate().unwrap());
        assert!(!debug.contains("PRIVATE"), "{debug}");
    }
}
