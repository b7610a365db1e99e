//! How many connections the driver keeps, counted by what it tells of them (Connection Monitoring and Pooling).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use microserve_core::pool::PoolState;
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::ClientOptions;

/// The driver's own choice, for each server.
const MOST: u32 = 10;

/// Clones count the same.
#[derive(Clone)]
pub(crate) struct Pool {
    open: Arc<AtomicI64>,
    lent: Arc<AtomicI64>,
    most: u32,
}

impl Pool {
    /// Counts the connections of the client that is made with these options.
    pub(crate) fn watching(options: &mut ClientOptions) -> Self {
        let servers = u32::try_from(options.hosts.len()).unwrap_or(u32::MAX).max(1);
        let most = options.max_pool_size.unwrap_or(MOST).saturating_mul(servers);
        let pool = Self { open: Arc::default(), lent: Arc::default(), most };
        let counted = pool.clone();
        options.cmap_event_handler = Some(EventHandler::callback(move |event| counted.count(&event)));
        pool
    }

    fn count(&self, event: &CmapEvent) {
        let (count, by) = match event {
            CmapEvent::ConnectionCreated(_) => (&self.open, 1),
            CmapEvent::ConnectionClosed(_) => (&self.open, -1),
            CmapEvent::ConnectionCheckedOut(_) => (&self.lent, 1),
            CmapEvent::ConnectionCheckedIn(_) => (&self.lent, -1),
            _ => return,
        };
        count.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn state(&self) -> PoolState {
        let (open, lent) = (self.open.load(Ordering::Relaxed), self.lent.load(Ordering::Relaxed));
        let count = |count: i64| u32::try_from(count.max(0)).unwrap_or(u32::MAX);
        PoolState { open: count(open), idle: count(open - lent), most: self.most }
    }
}
