//! The connections that adapters keep to their servers, looked at when somebody scrapes.

use std::sync::{Mutex, PoisonError};

use microserve_core::pool::PoolState;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Connections {
    port: &'static str,
    state: &'static str,
}

type Look = Box<dyn Fn() -> Option<PoolState> + Send + Sync>;

pub(super) struct Pools {
    connections: Family<Connections, Gauge>,
    /// By port.
    watched: Mutex<Vec<(&'static str, Look)>>,
}

impl Pools {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let connections = Family::default();
        let help = "Connections that an adapter keeps: in use, idle, and so many there may be";
        registry.register("pool_connections", help, Family::clone(&connections));
        Self { connections, watched: Mutex::default() }
    }

    /// Looks at a port's adapter from now on. Only the first one of a port counts.
    pub(super) fn watch(&self, port: &'static str, look: impl Fn() -> Option<PoolState> + Send + Sync + 'static) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.iter().all(|(known, _)| *known != port) {
            watched.push((port, Box::new(look)));
        }
    }

    pub(super) fn refresh(&self) {
        for (port, look) in &*self.watched.lock().unwrap_or_else(PoisonError::into_inner) {
            let Some(PoolState { open, idle, most }) = look() else { continue };
            for (state, count) in [("used", open.saturating_sub(idle)), ("idle", idle), ("most", most)] {
                self.connections.get_or_create(&Connections { port, state }).set(i64::from(count));
            }
        }
    }
}
