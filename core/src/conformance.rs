//! What every adapter of a port must pass: a suite of checks per port, and scripted faults.
//!
//! Each check tests one promise that the port's rustdoc makes. An adapter's whole test file is its imports and one line:
//!
//! ```
//! use microserve_core::conformance::Fixture;
//! use microserve_core::memory::MemoryBlobs;
//!
//! microserve_core::blob_store_conformance!(|| async { Fixture::new(MemoryBlobs::default()) });
//! # fn main() {}
//! ```
//!
//! That makes one `#[test]` per check, in a module named after the port: `blob_store::put_then_get` and so on. The
//! factory is called once for each check. Things that must live as long as the adapter (a temporary folder, a server)
//! go into [`Fixture::keep`]. A check makes what it needs under fresh ids and queue names, so it does not matter what
//! else is in the store.
//!
//! Checks wait in real time. A queue that takes deliveries back after a while (a lease) is best tested with one of
//! about two seconds.
//!
//! To add a check: write the function in the port's file, put its name into the list at the end of that file, and name
//! it in the port's rustdoc. Every adapter runs it from then on. A check that is not listed is dead code, which is
//! denied.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "this is test code: a broken promise ends in a panic, and checks race tasks of their own"
)]

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};

/// Defines a suite: the list of its checks, and the exported macro that makes a test of each.
///
/// The `$` that comes first stands for itself: it is how a macro writes a macro that has variables.
macro_rules! suite {
    ($d:tt $macro:ident: $module:ident of $port:ident { $($check:ident,)+ }) => {
        impl<S: $port + 'static> From<$crate::conformance::Fixture<S>> for $crate::conformance::Fixture<dyn $port> {
            fn from(fixture: $crate::conformance::Fixture<S>) -> Self {
                Self { port: fixture.port, guards: fixture.guards }
            }
        }

        #[doc(hidden)]
        pub mod checks {
            $(pub async fn $check(port: std::sync::Arc<dyn super::$port>) { super::$check(port).await; })+
        }

        #[doc = concat!("Tests an adapter of `", stringify!($port), "`: one `#[test]` per check, in a module `",
            stringify!($module), "`. See [`conformance`](crate::conformance).")]
        #[macro_export]
        macro_rules! $macro {
            ($d factory:expr) => {
                mod $module {
                    #[allow(unused_imports, reason = "the factory may or may not use what is imported around it")]
                    use super::*;
                    $(
                        #[test]
                        fn $check() {
                            $crate::conformance::run($d factory, $crate::conformance::$module::checks::$check);
                        }
                    )+
                }
            };
        }
    };
}

pub mod auth_store;
pub mod blob_store;
pub mod dead_letters;
pub mod faulty;
pub mod job_store;
pub mod mailer;
pub mod queue;
pub mod transcoder;

/// No check takes longer, whatever the adapter.
const LIMIT: Duration = Duration::from_secs(120);

/// An adapter under test, and what must live as long as it.
pub struct Fixture<P: ?Sized> {
    port: Arc<P>,
    guards: Vec<Box<dyn Any + Send>>,
}

impl<P> Fixture<P> {
    /// Tests this adapter.
    #[must_use]
    pub fn new(adapter: P) -> Self {
        Self::shared(Arc::new(adapter))
    }
}

impl<P: ?Sized> Fixture<P> {
    /// Tests an adapter that others hold as well, or one whose type is no longer known (`Arc<dyn BlobStore>`).
    #[must_use]
    pub fn shared(adapter: Arc<P>) -> Self {
        Self { port: adapter, guards: Vec::new() }
    }

    /// Drops `guard` after the adapter: a temporary folder, a server.
    #[must_use]
    pub fn keep(mut self, guard: impl Any + Send) -> Self {
        self.guards.push(Box::new(guard));
        self
    }
}

/// Runs one check on a runtime of its own.
#[doc(hidden)]
pub fn run<P, Made, Checked>(factory: impl FnOnce() -> Made, check: impl FnOnce(Arc<P>) -> Checked)
where
    P: ?Sized,
    Made: Future<Output: Into<Fixture<P>>>,
    Checked: Future<Output = ()>,
{
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("there are threads");
    runtime.block_on(async {
        let fixture: Fixture<P> = factory().await.into();
        let checked = tokio::time::timeout(LIMIT, check(Arc::clone(&fixture.port))).await;
        assert!(checked.is_ok(), "the check has not ended after {} s: something waits for ever", LIMIT.as_secs());
    });
}

/// Now, as every store can keep it.
fn now() -> jiff::Timestamp {
    SystemClock.now()
}

/// `len` bytes without a pattern, the same for the same `seed`.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}
