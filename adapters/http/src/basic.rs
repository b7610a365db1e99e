//! Basic credentials (RFC 7617): the name and password that `curl -u` sends.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;

/// Base64 as it is sent: some clients leave the padding away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The name and password of a request; `None` if there are none that can be understood.
pub(crate) fn credentials(headers: &HeaderMap) -> Option<(String, SecretString)> {
    let encoded = scheme(headers, "basic")?;
    let decoded = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    // RFC 7617 §2: the name has no colon, the password may have.
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), SecretString::from(password.to_owned())))
}

/// What follows an authentication scheme (RFC 9110 §11.4): its case does not matter, nor do extra spaces. `None` if the
/// scheme is another, or there are two such headers: which of them would count?
pub(crate) fn scheme<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (name, rest) = value.to_str().ok()?.trim().split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use secrecy::ExposeSecret;

    fn parse(value: &str) -> Option<(String, String)> {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
        credentials(&headers).map(|(name, password)| (name, password.expose_secret().to_owned()))
    }

    #[test]
    fn credentials_are_utf8_and_split_at_the_first_colon() {
        let basic = |text: &str| format!("bAsIc   {}", base64::engine::general_purpose::STANDARD.encode(text));
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(parse(&basic("anna@example.com:a:b")), pair("anna@example.com", "a:b"));
        // The example of RFC 7617 §2.1.
        assert_eq!(parse("Basic dGVzdDoxMjPCow=="), pair("test", "123£"));
        assert_eq!(parse("Basic dGVzdDoxMjPCow"), pair("test", "123£"));
        assert_eq!(parse(&basic(":")), pair("", ""));
    }

    #[test]
    fn what_is_not_basic_is_nothing() {
        for bad in
            ["", "Basic", "Basic ", "Basic !!!", "Basic bm9jb2xvbg==", "Basic /////w==", "Bearer dGVzdDoxMjPCow=="]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
