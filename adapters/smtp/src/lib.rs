//! Mail by SMTP (RFC 5321), handed over one by one on a connection each.
//!
//! ```
//! use microserve_smtp::SmtpMailer;
//!
//! # fn main() -> Result<(), microserve_smtp::SettingsError> {
//! let mailer = SmtpMailer::new(&"smtp://anna:secret@mail.example.com:587".parse().expect("a URL"))?;
//! # Ok(())
//! # }
//! ```
//!
//! | URL | meaning |
//! |---|---|
//! | `smtps://USER:PASSWORD@HOST` | TLS from the first byte, port 465 unless given (RFC 8314) |
//! | `smtp://USER:PASSWORD@HOST` | `STARTTLS`, port 587 unless given; a server that does not offer it gets nothing |
//! | `smtp://127.0.0.1:25` | no TLS, and no port but the one given: on the loopback address nobody listens in |
//! | `?tls=none`, `?tls=starttls` | says it, whatever the host; a password never goes over a line without TLS |
//! | `?ca=/etc/ssl/own.pem` | certificates are also good if this authority has signed them |
//! | `?hello=NAME` | what `EHLO` says; the address of this end if not given |
//!
//! User and password are percent-encoded, as in any URL: `@` is `%40`. With a Gmail account take an app password.
//!
//! What becomes of a mail is told by where its conversation ended: a refusal of the mail itself is final, everything
//! before the final dot can be tried again, and a connection that breaks behind it leaves the mail's fate unknown.

mod inspect;
mod mailer;
mod session;
mod settings;

pub use mailer::SmtpMailer;
pub use settings::SettingsError;
