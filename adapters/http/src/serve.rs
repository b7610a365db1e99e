//! The server: connections come in, and none of them may hold on for nothing.
//!
//! `axum::serve` has no limit on the time that headers take, on idle connections, or on their number, and may wait
//! for ever when it is told to stop. This has all of them, see [`Limits`].

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use ipnet::IpNet;
use microserve_core::Shutdown;
use microserve_core::throttle::network;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::client_address::ClientAddress;
use crate::stream::Connection;

/// After an error that is not one connection's, such as running out of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// What connections may take, and whom they are believed to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more of them wait in the listener's queue. 512.
    pub connections: usize,
    /// Connections at a time from one address (IPv4), or from one /64 (IPv6); more are closed at once. A proxy counts
    /// as one address. 128.
    pub connections_per_address: usize,
    /// How long a request's headers may take; over HTTP/1.1 also how long a connection may be without a request. 10 s.
    pub header_timeout: Duration,
    /// Headers in a request. 64.
    pub headers: usize,
    /// Bytes of a request's headers: at least 8 KiB. 16 KiB.
    pub header_bytes: usize,
    /// How long a connection is kept without a request. 30 s.
    pub idle_timeout: Duration,
    /// How long a client may leave what it is sent unread. 60 s.
    pub write_timeout: Duration,
    /// Requests at a time on one HTTP/2 connection. 32.
    pub streams: u32,
    /// Networks of proxies whose `X-Forwarded-For` is believed. None.
    pub proxies: Arc<[IpNet]>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_address: 128,
            header_timeout: Duration::from_secs(10),
            headers: 64,
            header_bytes: 16 * 1024,
            idle_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            streams: 32,
            proxies: Arc::default(),
        }
    }
}

/// Serves HTTP/1.1 and HTTP/2 without TLS until `shutdown` says stop.
///
/// Then nothing new is accepted, and requests that have begun are finished as tasks of `shutdown`; its kill cuts them
/// off.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: &Shutdown) {
    let all = Arc::new(Semaphore::new(limits.connections));
    let addresses = Addresses::default();
    let builder = builder(&limits, shutdown);
    loop {
        let (tcp, address, permit) = tokio::select! {
            biased;
            () = shutdown.stop().cancelled() => return,
            accepted = accept(&listener, &all) => match accepted {
                Some(accepted) => accepted,
                None => return,
            },
        };
        let Some(place) = addresses.enter(address, limits.connections_per_address) else {
            debug!("too many connections from one address");
            continue;
        };
        let (router, builder, limits) = (router.clone(), builder.clone(), limits.clone());
        let client = Client { router, builder, limits, peer: address, shutdown: shutdown.clone() };
        shutdown.spawn(async move {
            client.serve(tcp).await;
            drop((place, permit));
        });
    }
}

/// The next connection, once there is room for it. `None` never comes while the semaphore is open, which is always.
async fn accept(listener: &TcpListener, all: &Arc<Semaphore>) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(all).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((tcp, address)) => return Some((tcp, address.ip(), permit)),
            Err(err) if is_one_connections(&err) => {}
            Err(err) => {
                warn!(error = &err as &dyn std::error::Error, "can't accept connections: trying again");
                sleep(PAUSE).await;
            }
        }
    }
}

fn is_one_connections(err: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(err.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn builder(limits: &Limits, shutdown: &Shutdown) -> Builder<Tasks> {
    let mut builder = Builder::new(Tasks(shutdown.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes.max(8 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        // Per stream and connection: what an upload may have in flight.
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(256 * 1024)
        // CVE-2023-44487, CVE-2025-8671: streams that are reset as fast as they are made.
        .max_pending_accept_reset_streams(16)
        .max_local_error_reset_streams(128)
        .keep_alive_interval(limits.idle_timeout)
        .keep_alive_timeout(limits.header_timeout);
    builder
}

/// Runs what HTTP/2 spawns as tasks of the shutdown.
#[derive(Clone)]
struct Tasks(Shutdown);

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// One connection's server.
struct Client {
    router: Router,
    builder: Builder<Tasks>,
    limits: Limits,
    peer: IpAddr,
    shutdown: Shutdown,
}

impl Client {
    async fn serve(self, tcp: TcpStream) {
        let _ = tcp.set_nodelay(true);
        let Self { router, builder, limits, peer, shutdown } = self;
        let (running, watched) = watch::channel(0);
        let running = Arc::new(running);
        let proxies = Arc::clone(&limits.proxies);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (router, running) = (router.clone(), Running::new(&running));
            let client = ClientAddress::of(peer, request.headers(), &proxies);
            request.extensions_mut().insert(client);
            async move {
                let response = router.oneshot(request.map(Body::new)).await?;
                Ok::<_, Infallible>(response.map(|body| Watched { body, _running: running }))
            }
        });
        let io = TokioIo::new(Connection::new(tcp, limits.write_timeout));
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut idle = pin!(idle(watched, limits.header_timeout, limits.idle_timeout));
        let mut stopping = false;
        loop {
            tokio::select! {
                outcome = connection.as_mut() => {
                    if let Err(err) = outcome {
                        debug!(error = &*err as &dyn std::error::Error, "a connection ended in an error");
                    }
                    return;
                }
                () = shutdown.kill().cancelled() => return,
                () = idle.as_mut() => return,
                () = shutdown.stop().cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Returns when no request has run for too long. The first has to come within the time for headers: before it, nothing
/// is known of the client, not even which HTTP it speaks, and hyper's own timer does not run.
async fn idle(mut running: watch::Receiver<usize>, first: Duration, later: Duration) {
    let mut patience = first;
    loop {
        let idle = *running.borrow_and_update() == 0;
        let changed = running.changed();
        let gone = if idle { timeout(patience, changed).await.is_err() } else { changed.await.is_err() };
        if gone {
            return;
        }
        patience = later;
    }
}

/// A request that runs, until the last byte of its answer is handed over.
struct Running(Arc<watch::Sender<usize>>);

impl Running {
    fn new(running: &Arc<watch::Sender<usize>>) -> Self {
        running.send_modify(|count| *count += 1);
        Self(Arc::clone(running))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A response's body that knows that its request still runs.
struct Watched {
    body: Body,
    _running: Running,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Addresses {
    /// `None` when the address has its share.
    fn enter(&self, address: IpAddr, most: usize) -> Option<Place> {
        let address = network(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { addresses: self.clone(), address })
    }
}

struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_by_network_and_forgotten() {
        let addresses = Addresses::default();
        let enter = |address: &str| addresses.enter(address.parse().unwrap(), 2);
        let places = (enter("2001:db8::1"), enter("2001:db8::2"));
        assert!(places.0.is_some() && places.1.is_some() && enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::1").is_some() && enter("::ffff:192.0.2.1").is_some());
        drop(places);
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
