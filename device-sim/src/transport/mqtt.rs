//! One message per report to a broker, by the device itself, acknowledged with PUBACK.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use proto::{Instant, Reading};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use tokio_util::sync::CancellationToken;

use super::reconnect::Pause;
use super::{PATIENCE, Surroundings};
use crate::Via;
use crate::device::Device;
use crate::payload::Payload;

/// Messages without PUBACK; then nothing more is written until one comes.
const MAX_OPEN: usize = 64;
/// How long a connection may be silent.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Messages to a broker.
#[derive(Clone)]
pub struct MqttUplink {
    /// Where the broker listens.
    pub broker: SocketAddr,
    /// The user name and password there.
    pub login: Option<(String, String)>,
    /// Where the messages go.
    pub topic: String,
    /// What is in them.
    pub payload: Payload,
}

/// Without its password.
impl fmt::Debug for MqttUplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (broker, topic) = (&self.broker, &self.topic);
        f.debug_struct("MqttUplink")
            .field("broker", broker)
            .field("topic", topic)
            .finish_non_exhaustive()
    }
}

/// What a connection has carried.
#[derive(Default)]
struct Open {
    /// Handed in, without a packet identifier yet.
    written: VecDeque<Vec<Reading>>,
    /// By packet identifier.
    sent: BTreeMap<u16, Vec<Reading>>,
}

impl Open {
    fn len(&self) -> usize {
        self.written.len() + self.sent.len()
    }

    fn into_readings(self) -> impl Iterator<Item = Vec<Reading>> {
        self.written.into_iter().chain(self.sent.into_values())
    }
}

impl MqttUplink {
    /// Connects again whenever the connection is gone. What had no PUBACK is not sent again: the
    /// device forgets it, and nobody owes it.
    pub(super) async fn run(
        self,
        mut device: Device,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) {
        let mut pause = Pause::default();
        loop {
            let mut options =
                MqttOptions::new(device.id(), self.broker.ip().to_string(), self.broker.port());
            options.set_keep_alive(KEEP_ALIVE);
            options.set_clean_session(true);
            if let Some((user, password)) = &self.login {
                options.set_credentials(user, password);
            }
            let (client, mut events) = AsyncClient::new(options, MAX_OPEN + 2);
            let mut open = Open::default();
            let end = self
                .serve(
                    &client,
                    &mut events,
                    &mut device,
                    &surroundings,
                    &stop,
                    &mut open,
                    &mut pause,
                )
                .await;
            for readings in open.into_readings() {
                surroundings.ledger.handle_unanswered(&readings);
            }
            match end {
                Ok(()) if stop.is_cancelled() => return,
                Ok(()) => {}
                Err(error) => tracing::debug!(device = device.id(), %error, "no connection"),
            }
            if !pause.wait(&surroundings.clock, &stop).await {
                return;
            }
        }
    }

    /// Until the connection ends, the device goes away, or `stop` and the last PUBACK.
    #[expect(clippy::too_many_arguments, reason = "the parts of one connection")]
    async fn serve(
        &self,
        client: &AsyncClient,
        events: &mut EventLoop,
        device: &mut Device,
        surroundings: &Surroundings,
        stop: &CancellationToken,
        open: &mut Open,
        pause: &mut Pause,
    ) -> Result<(), rumqttc::ConnectionError> {
        let clock = surroundings.clock;
        let mut leave_at = Instant::FAR_FUTURE;
        let (mut is_connected, mut has_sent) = (false, false);
        loop {
            let stopping = stop.is_cancelled();
            if stopping && (open.len() == 0 || clock.now() >= leave_at) {
                return Ok(());
            }
            let may_write = is_connected && !stopping && open.len() < MAX_OPEN;
            tokio::select! {
                () = stop.cancelled(), if !stopping => leave_at = clock.now() + PATIENCE,
                () = clock.sleep_until(leave_at), if stopping => {}
                () = clock.sleep_until(device.poll_timeout()), if may_write => {
                    if device.is_back() && has_sent {
                        return Ok(());
                    }
                    if let Some(readings) = surroundings.take_due(device, Via::Mqtt) {
                        has_sent = true;
                        let payload = self.payload.encode(&readings);
                        match client.try_publish(&self.topic, QoS::AtLeastOnce, false, payload) {
                            Ok(()) => open.written.push_back(readings),
                            Err(error) => {
                                tracing::debug!(device = device.id(), %error, "cannot send");
                                surroundings.ledger.handle_unanswered(&readings);
                            }
                        }
                    }
                }
                event = events.poll() => match event? {
                    Event::Incoming(Packet::ConnAck(_)) => {
                        is_connected = true;
                        pause.reset();
                    }
                    Event::Incoming(Packet::PubAck(ack)) => {
                        if let Some(readings) = open.sent.remove(&ack.pkid) {
                            surroundings.ledger.handle_acknowledged(&readings);
                        }
                    }
                    Event::Outgoing(Outgoing::Publish(id)) => {
                        if let Some(readings) = open.written.pop_front() {
                            open.sent.insert(id, readings);
                        }
                    }
                    Event::Incoming(_) | Event::Outgoing(_) => {}
                },
            }
        }
    }
}
