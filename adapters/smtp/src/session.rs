//! A conversation with a server, and what its end means for the mail.

use std::io;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Mechanism;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use microserve_core::inspect::Step;
use microserve_core::mail::MailError;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::settings::{Settings, Tls};

/// For the connection, TLS and the greeting.
const CONNECT: Duration = Duration::from_secs(15);
/// For the answer to a command. RFC 5321 §4.5.3.2 allows five minutes, which is longer than a mail may be in hand.
const COMMAND: Duration = Duration::from_secs(30);
/// For sending the mail itself, and for the server to take it.
const BODY: Duration = Duration::from_secs(120);
/// For saying goodbye, which changes nothing any more.
const QUIT: Duration = Duration::from_secs(2);

/// PLAIN and LOGIN are as good as the line they go over; the settings see to that.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// A connection that is greeted, encrypted if it has to be, and logged in.
pub(crate) struct Session(AsyncSmtpConnection);

impl Session {
    pub(crate) async fn open(settings: &Settings) -> Result<Self, MailError> {
        let mut session = Self::begin(settings).await?;
        session.log_in(settings).await?;
        Ok(session)
    }

    /// As [`Session::open`], without logging in.
    pub(crate) async fn greet(settings: &Settings) -> Result<Self, MailError> {
        Ok(Self::begin(settings).await?)
    }

    /// Connects, is greeted, and encrypts the line if it has to be.
    pub(crate) async fn begin(settings: &Settings) -> Result<Self, Trouble> {
        let Settings { tls, hello, .. } = settings;
        let mut connection = within(CONNECT, connect(settings)).await.map_err(Trouble::Reach)?;
        if let Tls::Upgraded(parameters) = tls {
            let upgrade = connection.starttls(parameters.clone(), hello);
            within(COMMAND, upgrade).await.map_err(Trouble::Encrypt)?;
        }
        Ok(Self(connection))
    }

    /// Logs in, if there is anything to do it with.
    pub(crate) async fn log_in(&mut self, settings: &Settings) -> Result<(), Trouble> {
        let Some(credentials) = &settings.credentials else { return Ok(()) };
        within(COMMAND, self.0.auth(&MECHANISMS, credentials)).await.map_err(Trouble::LogIn)?;
        Ok(())
    }

    /// What the server calls itself.
    pub(crate) fn name(&self) -> &str {
        self.0.server_info().name()
    }

    /// Hands a mail over; what the server says to it.
    pub(crate) async fn send(&mut self, envelope: &Envelope, message: &[u8]) -> Result<String, MailError> {
        let connection = &mut self.0;
        let from = MailFrom::new(envelope.from().cloned(), Vec::new());
        within(COMMAND, connection.command(from)).await.map_err(judge)?;
        for to in envelope.to() {
            within(COMMAND, connection.command(Rcpt::new(to.clone(), Vec::new()))).await.map_err(judge)?;
        }
        within(COMMAND, connection.command(Data)).await.map_err(judge)?;

        let mut body = Body { message: Some(message), written: false };
        let outcome = within(BODY, connection.message_iter(&mut body)).await;
        match outcome {
            Ok(reply) => Ok(reply.first_line().unwrap_or_default().to_owned()),
            Err(End::Smtp(err)) if err.status().is_some() => Err(judge(End::Smtp(err))),
            // RFC 5321 §4.2.5: before the final dot nobody has taken the mail; behind it somebody may have.
            Err(err) if body.written => Err(MailError::Unknown(err.into())),
            Err(err) => Err(deferred("the connection broke while the mail was sent", &err)),
        }
    }

    /// Says goodbye. Whether anybody hears it is all the same.
    pub(crate) async fn quit(mut self) {
        let _ = timeout(QUIT, self.0.quit()).await;
    }
}

async fn connect(settings: &Settings) -> Result<AsyncSmtpConnection, End> {
    let Settings { host, port, tls, hello, .. } = settings;
    let address = (host.trim_matches(['[', ']']), *port);
    if let Tls::Always(parameters) = tls {
        let implicit = Some(parameters.clone());
        return Ok(AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT), hello, implicit, None).await?);
    }
    let tcp = TcpStream::connect(address).await?;
    // The final dot is a write of its own. Without this it would wait for the mail to be acknowledged, and the other side
    // for more to acknowledge: 40 ms.
    tcp.set_nodelay(true)?;
    Ok(AsyncSmtpConnection::connect_with_transport(Box::new(tcp), hello).await?)
}

/// The mail's bytes, and whether all of them are on their way: asked for more, there is only the final dot to come.
struct Body<'m> {
    message: Option<&'m [u8]>,
    written: bool,
}

impl<'m> Iterator for &mut Body<'m> {
    type Item = &'m [u8];

    fn next(&mut self) -> Option<&'m [u8]> {
        let message = self.message.take();
        self.written = message.is_none();
        message
    }
}

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum Trouble {
    Reach(End),
    Encrypt(End),
    LogIn(End),
}

impl Trouble {
    /// What was tried in vain.
    pub(crate) fn step(&self) -> Step {
        match self {
            Self::Reach(End::Smtp(err)) if err.is_tls() => Step::Encrypt,
            Self::Reach(_) => Step::Reach,
            Self::Encrypt(_) => Step::Encrypt,
            Self::LogIn(_) => Step::LogIn,
        }
    }

    pub(crate) fn words(&self) -> String {
        match self {
            Self::Reach(err) => format!("the mail server can't be reached: {err}"),
            Self::Encrypt(err) => format!("the line can't be encrypted: {err}"),
            Self::LogIn(err) => format!("the server does not let us log in: {err}"),
        }
    }
}

/// None of it is the mail's fault: a password that somebody changed, say. It waits until that is mended.
impl From<Trouble> for MailError {
    fn from(trouble: Trouble) -> Self {
        Self::Deferred { after: None, source: trouble.words().into() }
    }
}

/// How a step ended that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error(transparent)]
    Smtp(#[from] Error),
    #[error(transparent)]
    Connect(#[from] io::Error),
    #[error("nothing was heard for {} seconds", .0.as_secs())]
    Silence(Duration),
}

async fn within<T, E: Into<End>>(patience: Duration, step: impl Future<Output = Result<T, E>>) -> Result<T, End> {
    match timeout(patience, step).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err(End::Silence(patience)),
    }
}

/// What an answer to the mail itself means: the one place that decides it (RFC 5321 §4.2.1).
fn judge(err: End) -> MailError {
    match err {
        End::Smtp(err) if err.is_permanent() => MailError::Refused { reply: words(&err) },
        err => deferred("the mail server does not take the mail now", &err),
    }
}

fn deferred(what: &'static str, err: &End) -> MailError {
    MailError::Deferred { after: None, source: format!("{what}: {err}").into() }
}

fn words(err: &Error) -> String {
    err.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}
