//! The port, put together.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use microserve_core::open::SecretUrl;
use microserve_core::queue::{Consumer, Message, Queue, QueueError, QueueName};
use tracing::warn;

use crate::connection::{Link, Open};
use crate::consumer::RabbitConsumer;
use crate::error::{Failure, within};
use crate::message;
use crate::publisher::Publisher;
use crate::settings::{Settings, SettingsError};
use crate::topology::{Declaration, Topology};

/// Queues on RabbitMQ. Clones share their two connections: one publishes, the other consumes.
#[derive(Clone)]
pub struct RabbitQueue {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) consuming: Arc<Link>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) timeout: Duration,
}

impl RabbitQueue {
    /// Queues at the broker of this URL, which is not asked before it is needed.
    ///
    /// # Errors
    /// When the URL says something that can't be.
    pub fn new(url: &SecretUrl) -> Result<Self, SettingsError> {
        let settings = Arc::new(Settings::parse(url)?);
        let topology = Arc::new(Topology::default());
        Ok(Self {
            publisher: Arc::new(Publisher::new(&settings, &topology)),
            consuming: Arc::new(Link::new(Arc::clone(&settings), "microserve consumes")),
            topology,
            timeout: settings.timeout,
        })
    }

    /// The same, and makes the queues that are missing. A broker that can't be reached yet is warned of, and no reason to
    /// give up: they are made when it is there.
    ///
    /// # Errors
    /// [`QueueError::Internal`] when the URL or the password is wrong, or the user lacks a right.
    pub async fn open(url: &SecretUrl) -> Result<Self, QueueError> {
        let queue = Self::new(url).map_err(|err| QueueError::Internal(err.into()))?;
        match queue.ping().await {
            Err(QueueError::Unavailable(err)) => {
                warn!(error = &*err, "can't reach the message broker yet");
            }
            pinged => pinged?,
        }
        Ok(queue)
    }

    async fn start(&self, open: &Arc<Open>, queue: &QueueName, prefetch: u16) -> Result<RabbitConsumer, Failure> {
        self.topology.ensure(open, &Declaration::of(queue)).await?;
        let publisher = Arc::clone(&self.publisher);
        RabbitConsumer::start(Arc::clone(open), queue.clone(), prefetch.max(1), publisher, self.timeout).await
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    async fn publish(&self, queue: &QueueName, message: Message) -> Result<(), QueueError> {
        let properties = message::properties(&message)?;
        Ok(self.publisher.publish(&Declaration::of(queue), &properties, &message.body).await?)
    }

    async fn consume(&self, queue: &QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let open = within(self.timeout, self.consuming.get()).await?;
        let started = within(self.timeout, self.start(&open, queue, prefetch)).await;
        Ok(Box::new(self.consuming.judged(&open, started).await?))
    }

    async fn ping(&self) -> Result<(), QueueError> {
        Ok(self.publisher.check().await?)
    }
}
