//! What whoever calls can do about an error: for `ERRORS.md`, and for programs that explain errors to people.

use crate::problem::Code;

impl Code {
    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::MalformedId => "Take the id from an earlier answer or the mail.",
            Self::InvalidParameter => "Correct the parameter that the detail names.",
            Self::MalformedBody => "Send JSON with the members that the detail names.",
            Self::MalformedMultipart => "Let a library or `curl -F` write the form; upload again if it broke off.",
            Self::IncompleteBody => "Send it again; over a bad line with a resumable upload.",
            Self::InvalidHeader => "Correct the header that the detail names.",
            Self::NoFile => "Send one part with a filename.",
            Self::SeveralFiles => "Send one file per upload.",
            Self::InvalidCredentials => "Check address and password.",
            Self::RegistrationClosed => "Ask whoever runs the server for an account, or for an invitation.",
            Self::InvalidInvitation => "Ask for a new invitation, and register with the address that it was made for.",
            Self::InvalidToken => "Log in again.",
            Self::InsufficientScope => "Use a key that has the scope, or log in.",
            Self::TooManyKeys => "Revoke one that isn't used any more.",
            Self::InvalidKey => "Correct what the detail names.",
            Self::NotFound => "Check the id; other people's look the same.",
            Self::MethodNotAllowed => "See `Allow`.",
            Self::TooSlow => "Upload over a faster line.",
            Self::NotReady => "Wait for the mail, or look at the job.",
            Self::NotRetryable => "Look at the job's status; upload the video again if it is no longer kept.",
            Self::Cancelled => "Upload again.",
            Self::InProgress => "Wait as `Retry-After` says, then send the same request again.",
            Self::OffsetMismatch => "Ask by `HEAD` how far the upload is, and go on from there.",
            Self::UploadComplete => "Delete its job instead.",
            Self::Expired => "Upload the video again.",
            Self::LinkExpired => "Log in to download.",
            Self::UnknownVersion => "Send `Tus-Resumable: 1.0.0`.",
            Self::TooLarge => "Stay below the limit in the detail.",
            Self::ExpectedMultipart => "Send `multipart/form-data`.",
            Self::ExpectedPart => "Send the bytes as `application/offset+octet-stream`.",
            Self::UnsupportedContainer => "Convert it to MP4 first.",
            Self::NoAudioTrack => "Upload a video that has sound.",
            Self::UnsupportedCodec => "Convert its sound to AAC first.",
            Self::Encrypted => "Upload one that is not protected.",
            Self::Corrupt => "Check whether it plays, and upload it again.",
            Self::Unconvertible => "The detail says why.",
            Self::RangeNotSatisfiable => "See `Content-Range` for the size.",
            Self::InvalidOption => "Correct the option that the detail names; options come before the file.",
            Self::KeyReused => "Use a new `Idempotency-Key` for a new upload.",
            Self::EmptyFile => "Check the path: nothing was sent.",
            Self::WeakPassword => "Choose another: the detail says why.",
            Self::TooLong => "Cut it into parts.",
            Self::ChecksumMismatch => "Send the same bytes again.",
            Self::Throttled => "Wait as `Retry-After` says.",
            Self::TooManyJobs => "Wait for some of your jobs, or cancel them.",
            Self::DailyQuota => "Wait as `Retry-After` says; `GET /me` tells how much is used.",
            Self::StorageQuota => "Delete finished jobs; `GET /me` tells how much is used.",
            Self::Internal => "Tell whoever runs the server the `X-Request-Id`.",
            Self::Busy | Self::Unavailable => "Wait as `Retry-After` says, then try again.",
            Self::Full => "Try again later; whoever runs the server has to make room.",
        }
    }
}
