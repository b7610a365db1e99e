//! Problems: every error a client can see, as RFC 9457 wants them told.
//!
//! `code` is the one list of them. A [`Problem`] travels in a response's extensions; `edge` writes the body, where
//! the request's id and `Accept` are known.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use microserve_core::BoxError;
use microserve_core::account::AuthError;
use microserve_core::api_key::{ApiKeyError, Scope};
use microserve_core::download::DownloadError;
use microserve_core::job::{ChangeError, JobError};
use microserve_core::login::LoginError;
use microserve_core::quota::Exceeded;
use microserve_core::throttle::{FREE_PER_ACCOUNT, WINDOW};
use microserve_core::transcode::InvalidOption;
use microserve_core::upload::UploadError;
use microserve_core::watch::TooManyWatchers;
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use crate::code::Code;

/// What a client is told to wait when something is down or busy.
const RETRY_AFTER: Duration = Duration::from_secs(5);

pub(crate) static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(crate) static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// An error on its way to the client.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What the log is told, and the client is not.
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem with a sentence for people.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), headers: Vec::new(), cause: None }
    }

    /// There is no such thing, or it is somebody else's: the same words for both.
    pub(crate) fn not_found() -> Self {
        Self::new(Code::NotFound, "there is nothing here, or it is not yours")
    }

    /// Something is broken; the cause is for the log.
    pub(crate) fn internal(cause: impl Into<BoxError>) -> Self {
        Self::new(Code::Internal, "something went wrong here; the request id helps to find out what").because(cause)
    }

    /// Something can't be reached; the cause is for the log.
    pub(crate) fn unavailable(cause: impl Into<BoxError>) -> Self {
        Self::new(Code::Unavailable, "a part of the service can't be reached right now; try again")
            .because(cause)
            .later()
    }

    /// The file is over the limit.
    pub(crate) fn too_large(limit: u64) -> Self {
        Self::new(Code::TooLarge, format!("the file is larger than the limit of {limit} bytes"))
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With `Retry-After`.
    pub(crate) fn later(self) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()))
    }

    fn because(mut self, cause: impl Into<BoxError>) -> Self {
        self.cause = Some(Arc::from(cause.into()));
        self
    }

    /// What an answer means that says nothing but its status: axum's for unknown paths and methods, a timeout's.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::NOT_FOUND => Some(Self::not_found()),
            StatusCode::METHOD_NOT_ALLOWED => {
                Some(Self::new(Code::MethodNotAllowed, "this method is not known here; `Allow` names those that are"))
            }
            StatusCode::SERVICE_UNAVAILABLE => Some(Self::unavailable("the request took too long")),
            _ => None,
        }
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }

    /// One line of text.
    pub(crate) fn to_text(&self) -> String {
        format!("{}: {}\n", self.code.as_str(), self.detail)
    }

    /// RFC 9457 §3.
    pub(crate) fn to_json(&self, request_id: &str) -> Vec<u8> {
        let document = Document {
            kind: format!("urn:microserve:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            instance: format!("urn:microserve:request:{request_id}"),
            code: self.code.as_str(),
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

/// An error (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    /// A sentence for people, which may change.
    detail: &'a str,
    /// Names the request, as `X-Request-Id` does.
    instance: String,
    /// Stands for one case, and does not change.
    code: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        for (name, value) in &self.headers {
            response.headers_mut().append(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<InvalidOption> for Problem {
    fn from(err: InvalidOption) -> Self {
        let detail = match &err {
            // What was meant may be the file, sent by curl as text.
            InvalidOption::Unknown(_) => format!("{err}; a file is sent as in `curl -F file=@video.mkv`"),
            InvalidOption::Value(_) => err.to_string(),
        };
        Self::new(Code::InvalidOption, detail)
    }
}

impl From<UploadError> for Problem {
    fn from(err: UploadError) -> Self {
        match err {
            UploadError::Empty => Self::new(Code::EmptyFile, "the file has no bytes"),
            UploadError::TooLarge { limit } => Self::too_large(limit),
            UploadError::Unusable(problem) => Self::new(Code::of_transcoder(&problem.code), problem.detail),
            UploadError::Body(_) => Self::new(Code::MalformedMultipart, "the upload broke off"),
            UploadError::InProgress => {
                let detail = "the same request is being carried out; ask again in a moment for what has become of it";
                Self::new(Code::InProgress, detail).later()
            }
            UploadError::KeyReused => {
                let detail = "this Idempotency-Key stands for another request: use a new key for a new upload";
                Self::new(Code::KeyReused, detail)
            }
            UploadError::Elsewhere => {
                Self::new(Code::OffsetMismatch, "the upload is not where this goes on: ask by HEAD where it is")
            }
            UploadError::Cancelled => Self::new(Code::Cancelled, "the job was cancelled during its upload"),
            UploadError::Quota(exceeded) => Self::over(&exceeded),
            UploadError::Full(cause) => {
                Self::new(Code::Full, "there is no room left for uploads; try again later").because(cause).later()
            }
            UploadError::Unavailable(cause) => Self::unavailable(cause),
            UploadError::Unknown(cause) => {
                let detail = "it is not known whether the upload was accepted: look at /jobs before sending it again";
                Self::new(Code::Unavailable, detail).because(cause).later()
            }
            err => Self::internal(err),
        }
    }
}

impl Problem {
    fn over(exceeded: &Exceeded) -> Self {
        let detail = exceeded.to_string();
        match exceeded {
            Exceeded::Unfinished { .. } => Self::new(Code::TooManyJobs, detail).later(),
            Exceeded::Hours { .. } => {
                // Some of it was more than an hour ago by then.
                Self::new(Code::DailyQuota, detail).header(header::RETRY_AFTER, HeaderValue::from(3600))
            }
            _ => Self::new(Code::StorageQuota, detail),
        }
    }
}

impl From<DownloadError> for Problem {
    fn from(err: DownloadError) -> Self {
        match err {
            DownloadError::NotFound => Self::not_found(),
            DownloadError::NotReady(status) => {
                Self::new(Code::NotReady, format!("there is no MP3: the job is {}", status.as_str()))
            }
            DownloadError::LinkExpired => {
                Self::new(Code::LinkExpired, "this link is no longer good: log in to download")
            }
            DownloadError::Expired => Self::new(Code::Expired, "the MP3 is no longer kept"),
            DownloadError::RangeNotSatisfiable { size, .. } => Self::range_not_satisfiable(size),
            DownloadError::Unavailable(cause) => Self::unavailable(cause),
            err => Self::internal(err),
        }
    }
}

impl Problem {
    /// RFC 9110 §15.5.17: the answer names the length there is.
    pub(crate) fn range_not_satisfiable(size: u64) -> Self {
        let problem = Self::new(Code::RangeNotSatisfiable, format!("the file has {size} bytes"));
        match HeaderValue::try_from(format!("bytes */{size}")) {
            Ok(value) => problem.header(header::CONTENT_RANGE, value),
            Err(_) => problem,
        }
    }
}

impl From<LoginError> for Problem {
    fn from(err: LoginError) -> Self {
        match err {
            LoginError::Refused { left } => Self::invalid_credentials().limited(left, WINDOW),
            LoginError::Throttled { wait } => {
                // A moment more than what is left of the second.
                let seconds = wait.as_secs() + 1;
                let detail = format!("too many attempts; the next is looked at in {seconds} s");
                Self::new(Code::Throttled, detail)
                    .header(header::RETRY_AFTER, HeaderValue::from(seconds))
                    .limited(0, Duration::from_secs(seconds))
            }
            LoginError::Weak(why) => Self::new(Code::WeakPassword, format!("the password can't be used: {why}")),
            LoginError::Busy => Self::new(Code::Busy, "too many logins at once; try again").later(),
            LoginError::Unavailable(cause) => Self::unavailable(cause),
            err => Self::internal(err),
        }
    }
}

impl Problem {
    /// How many more logins there are, and after how long there are all of them again
    /// (draft-ietf-httpapi-ratelimit-headers-10).
    fn limited(self, left: u32, reset: Duration) -> Self {
        let policy = format!("\"login\";q={FREE_PER_ACCOUNT};w={}", WINDOW.as_secs());
        let now = format!("\"login\";r={left};t={}", reset.as_secs());
        let (Ok(policy), Ok(now)) = (HeaderValue::try_from(policy), HeaderValue::try_from(now)) else { return self };
        self.header(RATELIMIT_POLICY.clone(), policy).header(RATELIMIT.clone(), now)
    }

    /// RFC 7617 §2.1: names the scheme, and that it is UTF-8.
    pub(crate) fn invalid_credentials() -> Self {
        let challenge = HeaderValue::from_static("Basic realm=\"microserve\", charset=\"UTF-8\"");
        Self::new(Code::InvalidCredentials, "the e-mail address or the password is wrong")
            .header(header::WWW_AUTHENTICATE, challenge)
    }

    /// RFC 6750 §3. What is wrong with a token is nobody's business but its owner's, who gets a new one in any case.
    pub(crate) fn invalid_token() -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"microserve\", error=\"invalid_token\"");
        Self::new(Code::InvalidToken, "log in at /login and send the token as `Authorization: Bearer`")
            .header(header::WWW_AUTHENTICATE, challenge)
    }

    /// RFC 6750 §3.1.
    pub(crate) fn insufficient_scope(scope: Scope) -> Self {
        let scope = scope.as_str();
        let challenge = format!("Bearer realm=\"microserve\", error=\"insufficient_scope\", scope=\"{scope}\"");
        let problem =
            Self::new(Code::InsufficientScope, format!("this API key has no scope `{scope}`: use one that has"));
        match HeaderValue::try_from(challenge) {
            Ok(challenge) => problem.header(header::WWW_AUTHENTICATE, challenge),
            Err(_) => problem,
        }
    }

    pub(crate) fn no_key_will_do() -> Self {
        Self::new(Code::InsufficientScope, "no API key will do for this: log in at /login and send the token")
    }
}

impl From<ApiKeyError> for Problem {
    fn from(err: ApiKeyError) -> Self {
        match err {
            ApiKeyError::TooMany => Self::new(Code::TooManyKeys, err.to_string()),
            ApiKeyError::Store(AuthError::Unavailable(cause)) => Self::unavailable(cause),
            // It was removed meanwhile, and its tokens with it.
            ApiKeyError::Store(AuthError::NotFound) => Self::invalid_token(),
            ApiKeyError::Store(err) => Self::internal(err),
            err => Self::new(Code::InvalidKey, err.to_string()),
        }
    }
}

impl From<JobError> for Problem {
    fn from(err: JobError) -> Self {
        match err {
            JobError::Unavailable(cause) => Self::unavailable(cause),
            err => Self::internal(err),
        }
    }
}

impl From<TooManyWatchers> for Problem {
    fn from(_: TooManyWatchers) -> Self {
        Self::new(Code::Busy, "too many requests wait for jobs right now; try again, or ask without waiting").later()
    }
}

impl From<ChangeError> for Problem {
    fn from(err: ChangeError) -> Self {
        match err {
            ChangeError::Gone | ChangeError::NotPossible(_) => Self::not_found(),
            ChangeError::Store(err) => err.into(),
            err => Self::internal(err),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_not_told() {
        let problem = Problem::internal("connection to db.internal:3306 refused");
        let told = String::from_utf8(problem.to_json("1")).unwrap() + &problem.to_text();
        assert!(!told.contains("db.internal"), "{told}");
    }
}
