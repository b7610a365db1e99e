//! Every error a client can see: its stable code, with its status, its title and what it means. The one list of them.

use axum::http::StatusCode;

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
    pub(crate) fn of_transcoder(code: &str) -> Self {
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
}
