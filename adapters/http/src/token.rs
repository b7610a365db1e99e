//! Tokens: signed by Ed25519, believed only if they look exactly as ours do.
//!
//! The profile is RFC 9068 (`typ: at+jwt`) with RFC 8725's advice: the key fixes the algorithm, every claim is
//! required, and a header with anything in it that we don't write is refused unread.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use microserve_core::BoxError;
use microserve_core::account::{Account, AccountId, Email};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bearer::Caller;
use crate::jwt_secret::JwtSecret;
use crate::problem::Problem;
use crate::{ed25519, edge};

/// How long a token is good for. A changed password or a disabled account ends it earlier.
pub(crate) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer tokens are refused unread (bytes).
pub(crate) const MAX_BYTES: usize = 4096;
/// How long an invitation is good for.
const INVITED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How far two clocks may be apart (seconds).
pub(crate) const LEEWAY: i64 = 30;
/// Both `iss` and `aud`: these tokens are for microserve alone.
const NAME: &str = "microserve";
/// The type of tokens (RFC 9068 §2.1).
const TOKEN: &str = "at+jwt";
/// Both type and audience of invitations.
const INVITATION: &str = "invitation+jwt";

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

    /// Whose request it is that comes with these.
    pub(crate) fn caller(&self) -> Result<Caller, Problem> {
        let email = self.username.parse().map_err(|_| Problem::invalid_token())?;
        Ok(Caller { id: self.sub, email, admin: self.admin })
    }

    pub(crate) fn are_good(&self, now: Timestamp) -> bool {
        let (now, leeway) = (now.as_second(), LEEWAY);
        let issued = self.iat.is_finite() && self.iat >= 0.0 && self.iat <= (now + leeway) as f64;
        let in_time = self.nbf <= now + leeway && now - leeway < self.exp;
        self.iss == NAME && self.aud == NAME && !self.jti.is_empty() && issued && in_time
    }
}

/// What an invitation says. It is no token: it has another type and audience.
#[derive(Serialize, Deserialize)]
struct Invitation {
    iss: String,
    /// The address that may register.
    sub: String,
    aud: String,
    exp: i64,
    nbf: i64,
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
#[derive(Clone)]
pub(crate) struct PublicKeys(Vec<PublicKey>);

#[derive(Clone)]
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

    /// The one header that a token of this kind and key has.
    fn header(&self, kind: &str) -> Header {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(kind.to_owned());
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
        let key = self.0.iter().find(|key| header == key.header(TOKEN)).ok_or(TokenError::UnknownKey)?;
        let claims: Claims =
            jsonwebtoken::decode(token, &key.verifying, &validation(NAME)).map_err(|_| TokenError::Invalid)?.claims;
        if claims.are_good(now) { Ok(claims) } else { Err(TokenError::Invalid) }
    }
}

impl PublicKeys {
    /// Whom an invitation is for, if one of our keys has signed it and it is still good.
    pub(crate) fn guest(&self, invitation: &str, now: Timestamp) -> Option<Email> {
        if invitation.len() > MAX_BYTES {
            return None;
        }
        let header = jsonwebtoken::decode_header(invitation).ok()?;
        let key = self.0.iter().find(|key| header == key.header(INVITATION))?;
        let claims: Invitation = jsonwebtoken::decode(invitation, &key.verifying, &validation(INVITATION)).ok()?.claims;
        let now = now.as_second();
        let is_good = claims.nbf <= now + LEEWAY && now - LEEWAY < claims.exp;
        claims.sub.parse().ok().filter(|_| is_good)
    }
}

/// The keys that sign tokens: one signs, the last unless told otherwise, and all of them verify. So a new one can be added
/// while tokens of the old are around.
///
/// ```
/// use microserve_http::TokenKeys;
///
/// let (old, new) = (TokenKeys::generate()?.to_pem(), TokenKeys::generate()?.to_pem());
/// let keys = TokenKeys::from_pems([old.as_str(), new.as_str()])?;
/// assert_eq!(keys.to_pem(), new);
/// // Others learn of the new key before it signs.
/// let keys = keys.signing_with(0);
/// assert_eq!(keys.to_pem(), old);
/// # Ok::<_, microserve_http::KeyError>(())
/// ```
pub struct TokenKeys {
    /// Replaced as a whole when keys rotate.
    pairs: RwLock<Arc<Pairs>>,
    /// What others have signed tokens with that are believed, too.
    secret: Option<JwtSecret>,
}

pub(crate) struct Pairs {
    public: PublicKeys,
    /// In the same order.
    private: Vec<EncodingKey>,
    /// Which of them signs.
    signing: usize,
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
        let (mut public, mut private) = (Vec::new(), Vec::new());
        for pem in pems {
            let signing = EncodingKey::from_ed_pem(pem.as_bytes()).map_err(|_| KeyError::NotEd25519)?;
            let pair = ed25519::key_pair(signing.as_bytes()).ok_or(KeyError::NotEd25519)?;
            public.push(PublicKey::new(pair.public_key().as_ref()));
            private.push(signing);
        }
        let signing = private.len().checked_sub(1).ok_or(KeyError::None)?;
        Ok(Self::of(Pairs { public: PublicKeys(public), private, signing }))
    }

    fn of(pairs: Pairs) -> Self {
        Self { pairs: RwLock::new(Arc::new(pairs)), secret: None }
    }

    /// The same keys; tokens that the tutorial's auth service has signed are believed, too.
    #[must_use]
    pub fn believing(self, secret: JwtSecret) -> Self {
        Self { secret: Some(secret), ..self }
    }

    /// What others have signed tokens with that are believed, too.
    pub(crate) fn secret(&self) -> Option<&JwtSecret> {
        self.secret.as_ref()
    }

    /// The same keys, of which the one at `index` signs; the last if there are not so many.
    #[must_use]
    pub fn signing_with(self, index: usize) -> Self {
        let Pairs { public, private, signing } = &*self.pairs();
        let signing = index.min(*signing);
        let secret = self.secret.clone();
        Self { secret, ..Self::of(Pairs { public: public.clone(), private: private.clone(), signing }) }
    }

    /// Takes these keys from now on, also for whoever shares this value. Says whether they are others than before.
    pub fn replace(&self, by: &Self) -> bool {
        let by = by.pairs();
        let mut pairs = self.pairs.write().unwrap_or_else(PoisonError::into_inner);
        let are_others = pairs.ids().ne(by.ids()) || pairs.signing != by.signing;
        *pairs = by;
        are_others
    }

    /// The signing key in PEM: a secret.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let pairs = self.pairs();
        pairs.private.get(pairs.signing).map(|key| to_pem(key.as_bytes())).unwrap_or_default()
    }

    /// The keys of this moment.
    pub(crate) fn pairs(&self) -> Arc<Pairs> {
        Arc::clone(&self.pairs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// An invitation: whoever has it can register with this address, for a week.
    ///
    /// # Errors
    /// [`KeyError::NotEd25519`], which a key that could be read never causes.
    pub fn invite(&self, email: &Email, now: Timestamp) -> Result<String, KeyError> {
        let nbf = now.as_second();
        let invitation = Invitation {
            iss: NAME.to_owned(),
            sub: email.as_str().to_owned(),
            aud: INVITATION.to_owned(),
            exp: nbf.saturating_add_unsigned(INVITED.as_secs()),
            nbf,
        };
        self.pairs().sign(INVITATION, &invitation).map_err(|_| KeyError::NotEd25519)
    }

    /// A token for an account.
    pub(crate) fn sign(&self, account: &Account, now: Timestamp) -> Result<String, BoxError> {
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
        self.pairs().sign(TOKEN, &claims)
    }
}

impl Pairs {
    /// What others need to believe the tokens.
    pub(crate) fn public(&self) -> &PublicKeys {
        &self.public
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.public.0.iter().map(|key| &*key.id)
    }

    fn sign(&self, kind: &str, claims: &impl Serialize) -> Result<String, BoxError> {
        let (public, private) = (self.public.0.get(self.signing), self.private.get(self.signing));
        let (public, private) = public.zip(private).ok_or("there is no key to sign with")?;
        Ok(jsonwebtoken::encode(&public.header(kind), claims, private)?)
    }
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.pairs().ids()).finish()
    }
}

fn validation(audience: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    validation.set_audience(&[audience]);
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
    /// A shared secret has less than 32 bytes.
    #[error("the secret is shorter than 32 bytes: whoever has a token can guess it, and make others")]
    ShortSecret,
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
        let keys = keys.pairs();
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
