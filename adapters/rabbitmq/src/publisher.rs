//! Publishing: done when the broker has said that it keeps the message.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Confirmation};

use crate::connection::{Link, Open};
use crate::error::{Failure, within};
use crate::settings::Settings;
use crate::topology::{Declaration, Topology, is_there};

/// Publishes on a connection of its own: the broker blocks those that publish when it is short of memory, and whoever
/// settles deliveries must not be held up by that.
pub(crate) struct Publisher {
    link: Link,
    topology: Arc<Topology>,
    timeout: Duration,
}

impl Publisher {
    pub(crate) fn new(settings: &Arc<Settings>, topology: &Arc<Topology>) -> Self {
        let link = Link::new(Arc::clone(settings), "microserve publishes");
        Self { link, topology: Arc::clone(topology), timeout: settings.timeout }
    }

    /// Returns when the broker keeps the message, also beyond a `kill -9` of it.
    pub(crate) async fn publish(
        &self,
        to: &Declaration,
        properties: &BasicProperties,
        body: &[u8],
    ) -> Result<(), Failure> {
        let open = self.ready().await?;
        self.link.judged(&open, within(self.timeout, self.store(&open, to, properties, body)).await).await?;
        let unsettled = self.topology.settles_in(&to.name);
        if unsettled.is_zero() {
            return Ok(());
        }
        tokio::time::sleep(unsettled).await;
        let still = within(self.timeout, is_there(&open, &to.name)).await;
        still.map(drop).map_err(|_| Failure::passing("the broker was lost while the message's queue was new"))
    }

    /// Asks the broker for something.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        let open = self.ready().await?;
        open.ensure_not_blocked()?;
        self.link.judged(&open, within(self.timeout, open.channel()).await).await?;
        Ok(())
    }

    /// A connection to a broker that has our queues.
    async fn ready(&self) -> Result<Arc<Open>, Failure> {
        let open = within(self.timeout, self.link.get()).await?;
        self.link.judged(&open, within(self.timeout, self.topology.ensure_all(&open)).await).await?;
        Ok(open)
    }

    async fn store(
        &self,
        open: &Open,
        to: &Declaration,
        properties: &BasicProperties,
        body: &[u8],
    ) -> Result<(), Failure> {
        // A queue may have gone since it was declared; it is not made anew again and again.
        for _ in 0..2 {
            self.topology.ensure(open, to).await?;
            // What the driver can't send it keeps, without a limit.
            open.ensure_not_blocked()?;
            let channel = open.confirming().await?;
            let key = ShortString::try_new(to.name.clone()).map_err(|err| Failure::misuse(err.to_string()))?;
            // `mandatory`: an unroutable message comes back inside the confirm instead of vanishing (RabbitMQ "Consumer
            // Acknowledgements and Publisher Confirms": such a message is confirmed all the same).
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let confirm = channel.basic_publish("".into(), key, options, body, properties.clone()).await?;
            match confirm.await? {
                Confirmation::Ack(None) => return Ok(()),
                Confirmation::Ack(Some(_)) => self.topology.forget(open, &to.name),
                Confirmation::Nack(_) => return Err(Failure::passing("the broker could not store the message")),
                Confirmation::NotRequested => return Err(Failure::misuse("the channel does not confirm")),
            }
        }
        Err(Failure::passing(format!("somebody removes the queue {} time and again", to.name)))
    }
}
