//! Problems: every error a client can see, as RFC 9457 wants them told.
//!
//! [`Code`] is the one list of them. A [`Problem`] travels in a response's extensions; `edge` writes the body, where
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

/// What a client is told to wait when something is down or busy.
const RETRY_AFTER: Duration = Duration::from_secs(5);

pub(crate) static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(crate) static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:ident, $title:literal;)+) => {
        /// Every error's stable code, with its status and title.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\n`", $code, "`, ", stringify!($status))]
                $name,
            )+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The `code` of the problem document.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The status that goes with it.
            #[must_use]
            pub fn status(self) -> StatusCode {
                if self == Self::ChecksumMismatch
                    && let Ok(status) = StatusCode::from_u16(460)
                {
                    return status;
                }
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// What it means: a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim(),)+ }
            }

            /// A short summary, the same for every occurrence.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// An id, or a fid, is missing or is not 24 lower-case hexadecimal characters.
    MalformedId = "malformed_id", BAD_REQUEST, "Malformed id";
    /// A query parameter can't be understood.
    InvalidParameter = "invalid_parameter", BAD_REQUEST, "Invalid query parameter";
    /// The body is not the JSON that is expected.
    MalformedBody = "malformed_body", BAD_REQUEST, "Malformed body";
    /// The multipart body broke off or is not well-formed.
    MalformedMultipart = "malformed_multipart", BAD_REQUEST, "Malformed multipart body";
    /// The body broke off before its end.
    IncompleteBody = "incomplete_body", BAD_REQUEST, "Incomplete body";
    /// A header can't be understood.
    InvalidHeader = "invalid_header", BAD_REQUEST, "Invalid header";
    /// The form has no file part.
    NoFile = "no_file", BAD_REQUEST, "No file part";
    /// The form has more than one file part.
    SeveralFiles = "several_files", BAD_REQUEST, "More than one file part";
    /// There are no credentials, or they are wrong.
    InvalidCredentials = "invalid_credentials", UNAUTHORIZED, "Invalid credentials";
    /// Nobody can make an account here by themselves.
    RegistrationClosed = "registration_closed", FORBIDDEN, "Registration is closed";
    /// The invitation is not, or no longer, good, or it is somebody else's.
    InvalidInvitation = "invalid_invitation", FORBIDDEN, "Invalid invitation";
    /// There is no token, or it is not (or no longer) valid.
    InvalidToken = "invalid_token", UNAUTHORIZED, "Invalid token";
    /// The API key is not good for this.
    InsufficientScope = "insufficient_scope", FORBIDDEN, "Insufficient scope";
    /// There is no such thing, or it is somebody else's.
    NotFound = "not_found", NOT_FOUND, "Not found";
    /// The resource is there and doesn't know the method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "Method not allowed";
    /// The body came too slowly.
    TooSlow = "too_slow", REQUEST_TIMEOUT, "Body too slow";
    /// The account has as many API keys as it may.
    TooManyKeys = "too_many_keys", CONFLICT, "Too many API keys";
    /// The job has no MP3 (yet).
    NotReady = "not_ready", CONFLICT, "No MP3 to download";
    /// The job is not one that can run again.
    NotRetryable = "not_retryable", CONFLICT, "Can't run again";
    /// The job was cancelled while its video was being uploaded.
    Cancelled = "cancelled", CONFLICT, "Cancelled";
    /// The same request, under the same `Idempotency-Key`, is being carried out.
    InProgress = "in_progress", CONFLICT, "In progress";
    /// The upload does not stand where the request goes on.
    OffsetMismatch = "offset_mismatch", CONFLICT, "Upload is elsewhere";
    /// The upload is complete, and a job by now.
    UploadComplete = "upload_complete", CONFLICT, "Upload is complete";
    /// The bytes do not come to their checksum. The status is 460, as the protocol tus has it.
    ChecksumMismatch = "checksum_mismatch", BAD_REQUEST, "Checksum mismatch";
    /// The protocol tus is spoken in another version than the header `Tus-Resumable` says, or there is no such header.
    UnknownVersion = "unknown_version", PRECONDITION_FAILED, "Unknown version of the protocol";
    /// The MP3 was there and is no longer kept.
    Expired = "expired", GONE, "No longer kept";
    /// The link was good for a limited time.
    LinkExpired = "link_expired", GONE, "Link expired";
    /// The file is over the limit.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "File too large";
    /// The body is not `multipart/form-data`.
    ExpectedMultipart = "expected_multipart", UNSUPPORTED_MEDIA_TYPE, "Expected multipart/form-data";
    /// A part of an upload is not sent as one.
    ExpectedPart = "expected_part", UNSUPPORTED_MEDIA_TYPE, "Expected application/offset+octet-stream";
    /// The file is in no container that can be read.
    UnsupportedContainer = "unsupported_container", UNSUPPORTED_MEDIA_TYPE, "Unsupported container";
    /// The file has no sound in it.
    NoAudioTrack = "no_audio_track", UNSUPPORTED_MEDIA_TYPE, "No audio track";
    /// The file's audio is in a codec that can't be decoded.
    UnsupportedCodec = "unsupported_codec", UNSUPPORTED_MEDIA_TYPE, "Unsupported audio codec";
    /// The file is encrypted.
    Encrypted = "encrypted", UNSUPPORTED_MEDIA_TYPE, "Encrypted file";
    /// The file is damaged.
    Corrupt = "corrupt", UNSUPPORTED_MEDIA_TYPE, "Damaged file";
    /// The file can't be converted, for a reason that only the detail names.
    Unconvertible = "unconvertible", UNSUPPORTED_MEDIA_TYPE, "File can't be converted";
    /// The range starts behind the end of the file.
    RangeNotSatisfiable = "range_not_satisfiable", RANGE_NOT_SATISFIABLE, "Range not satisfiable";
    /// An option is unknown, stands in the wrong place or has a value that can't be had.
    InvalidOption = "invalid_option", UNPROCESSABLE_ENTITY, "Invalid option";
    /// The `Idempotency-Key` was used for another request.
    KeyReused = "key_reused", UNPROCESSABLE_ENTITY, "Key used for another request";
    /// The file part has no bytes.
    EmptyFile = "empty_file", UNPROCESSABLE_ENTITY, "Empty file";
    /// A key can't be made like this.
    InvalidKey = "invalid_key", UNPROCESSABLE_ENTITY, "Invalid API key";
    /// Nobody should have this password.
    WeakPassword = "weak_password", UNPROCESSABLE_ENTITY, "Weak password";
    /// The audio is longer than the limit.
    TooLong = "too_long", UNPROCESSABLE_ENTITY, "Audio too long";
    /// There were too many attempts.
    Throttled = "throttled", TOO_MANY_REQUESTS, "Too many attempts";
    /// The account has too many unfinished jobs.
    TooManyJobs = "too_many_jobs", TOO_MANY_REQUESTS, "Too many unfinished jobs";
    /// The account has had as much converted within a day as it may.
    DailyQuota = "daily_quota", TOO_MANY_REQUESTS, "Daily quota used up";
    /// The account's files take up as much as they may.
    StorageQuota = "storage_quota", INSUFFICIENT_STORAGE, "Storage quota used up";
    /// Something is broken.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal error";
    /// There is too much to do right now.
    Busy = "busy", SERVICE_UNAVAILABLE, "Busy";
    /// Something that is needed can't be reached right now.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Temporarily unavailable";
    /// There is no room left for uploads.
    Full = "full", INSUFFICIENT_STORAGE, "No room left";
}

impl Code {
    /// The code of a file that can't be converted, from the transcoder's own.
    fn of_transcoder(code: &str) -> Self {
        [
            Self::UnsupportedContainer,
            Self::NoAudioTrack,
            Self::UnsupportedCodec,
            Self::Encrypted,
            Self::Corrupt,
            Self::TooLong,
        ]
        .into_iter()
        .find(|known| known.as_str() == code)
        .unwrap_or(Self::Unconvertible)
    }
}

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
    fn codes_are_distinct_snake_case_and_errors() {
        for (n, code) in Code::ALL.iter().enumerate() {
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code:?}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
            assert!(Code::ALL[..n].iter().all(|other| other.as_str() != code.as_str()), "{code:?} twice");
        }
    }

    #[test]
    fn causes_are_not_told() {
        let problem = Problem::internal("connection to db.internal:3306 refused");
        let told = String::from_utf8(problem.to_json("1")).unwrap() + &problem.to_text();
        assert!(!told.contains("db.internal"), "{told}");
    }
}
