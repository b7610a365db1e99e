//! Connections: made when they are needed, made anew when they broke, and never waited for without end.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex as PlainMutex, PoisonError};

use lapin::options::ConfirmSelectOptions;
use lapin::runtime::default_runtime;
use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::sync::Mutex;

use crate::error::{Failure, within};
use crate::settings::Settings;
use crate::topology::Declared;

/// One connection that is there when somebody asks for it.
pub(crate) struct Link {
    settings: Arc<Settings>,
    /// How it is called in the broker's list.
    name: &'static str,
    open: Mutex<Option<Arc<Open>>>,
}

/// A connection that was good when it was made.
pub(crate) struct Open {
    connection: Connection,
    /// The one channel on which messages are published.
    confirming: Mutex<Option<Channel>>,
    /// What has been declared on it.
    pub(crate) declared: Declared,
    /// Last, so that it is cut when everything else has let go.
    _line: Line,
}

impl Link {
    pub(crate) fn new(settings: Arc<Settings>, name: &'static str) -> Self {
        Self { settings, name, open: Mutex::new(None) }
    }

    /// The connection: the one that there is, if it still seems good, or a new one.
    pub(crate) async fn get(&self) -> Result<Arc<Open>, Failure> {
        let mut open = self.open.lock().await;
        if let Some(open) = open.as_ref().filter(|open| open.connection.status().connected()) {
            return Ok(Arc::clone(open));
        }
        // A broken one goes before its successor comes.
        *open = None;
        let fresh = within(self.settings.timeout, self.connect()).await?;
        Ok(Arc::clone(open.insert(Arc::new(fresh))))
    }

    /// Passes on what came of using the connection. One that has answered nothing is taken for broken: whoever asks next
    /// gets a new one.
    pub(crate) async fn judged<T>(&self, used: &Arc<Open>, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let silent = outcome.as_ref().is_err_and(|failure| failure.silent);
        // A blocked one is silent by order, and alive: it tells when it is no longer blocked.
        if silent && !used.connection.status().blocked() {
            let mut open = self.open.lock().await;
            if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, used)) {
                *open = None;
            }
        }
        outcome
    }

    async fn connect(&self) -> Result<Open, Failure> {
        let line = Line::default();
        let (wire, tls) = (Arc::clone(&line.0), self.settings.tls.clone());
        // Reconnecting is left to whoever uses the connection: they know what was under way.
        let properties = ConnectionProperties::default().with_connection_name(self.name.into());
        let connection = Connection::connector(
            self.settings.uri.clone(),
            default_runtime()?,
            async move |uri: AMQPUri, runtime| {
                let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
                let stream = plain.connect_with_config_async(TLSConfig::default(), &runtime).await?;
                if let AsyncTcpStream::Plain(tcp) = &stream {
                    hold(&wire, Wire::Held(tcp.get_ref().as_fd().try_clone_to_owned()?.into()));
                }
                Ok(match uri.scheme {
                    AMQPScheme::AMQP => stream,
                    AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, tls.as_ref()).await?,
                })
            },
            properties,
        );
        Ok(Open {
            connection: connection.await?,
            confirming: Mutex::default(),
            declared: Declared::default(),
            _line: line,
        })
    }
}

impl Open {
    /// A channel of one's own.
    pub(crate) async fn channel(&self) -> Result<Channel, Failure> {
        Ok(self.connection.create_channel().await?)
    }

    /// The channel on which the broker confirms what is published.
    pub(crate) async fn confirming(&self) -> Result<Channel, Failure> {
        let mut confirming = self.confirming.lock().await;
        if let Some(channel) = confirming.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = self.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(confirming.insert(channel).clone())
    }

    /// Fails while the broker takes nothing, because it is short of memory or disk (RabbitMQ "Blocked Connections").
    pub(crate) fn ensure_not_blocked(&self) -> Result<(), Failure> {
        if self.connection.status().blocked() {
            return Err(Failure::passing("the broker takes no messages for now: it is short of memory or disk"));
        }
        Ok(())
    }
}

/// The TCP connection beneath. Dropping this cuts it.
///
/// The driver ends a connection in good order, and waits for the broker's consent as long as it takes, with a thread for
/// each. A broker that hangs never gives it.
#[derive(Default)]
struct Line(Arc<PlainMutex<Wire>>);

#[derive(Default)]
enum Wire {
    #[default]
    Missing,
    Held(TcpStream),
    Cut,
}

impl Drop for Line {
    fn drop(&mut self) {
        hold(&self.0, Wire::Cut);
    }
}

/// Keeps the wire, unless it was cut before it was there.
fn hold(wire: &PlainMutex<Wire>, next: Wire) {
    let mut wire = wire.lock().unwrap_or_else(PoisonError::into_inner);
    if let (Wire::Held(tcp), Wire::Cut) | (Wire::Cut, Wire::Held(tcp)) = (&*wire, &next) {
        let _already_gone = tcp.shutdown(Shutdown::Both);
    }
    if !matches!(*wire, Wire::Cut) {
        *wire = next;
    }
}
