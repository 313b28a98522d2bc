//! A subscription to topics of a broker.
//!
//! It keeps its session, so that what is published while it is not connected comes when it is again.

use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS, SubscribeFilter,
    SubscribeReasonCode,
};
use tokio::time::{sleep, timeout};

use super::far_end::FarEndError;
use crate::scenario::values::Address;

/// How long the broker may take to accept the subscription.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before connecting again.
const PAUSE: Duration = Duration::from_millis(200);
/// The largest message.
const MAX_PACKET: usize = 1 << 20;
/// Requests of ours that wait for the connection; then who makes them waits.
const MAX_REQUESTS: usize = 16;

/// What is published at some topics.
pub(super) struct Subscription {
    broker: String,
    client: AsyncClient,
    events: EventLoop,
    filters: Vec<String>,
}

impl Subscription {
    /// Subscribes to `filters` at `broker`.
    pub(super) async fn new(
        broker: &Address,
        login: Option<(String, String)>,
        filters: Vec<String>,
    ) -> Result<Self, FarEndError> {
        let seed = getrandom::u64().unwrap_or_default();
        let id = format!("device-sim-{seed:016x}");
        let mut options = MqttOptions::new(id, broker.host(), broker.port());
        options.set_clean_session(false).set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(MAX_PACKET, MAX_PACKET);
        if let Some((user, password)) = login {
            options.set_credentials(user, password);
        }
        let (client, events) = AsyncClient::new(options, MAX_REQUESTS);
        let broker = broker.to_string();
        let mut subscription = Self { broker: broker.clone(), client, events, filters };
        let unreachable = |why: String| FarEndError::Unreachable { broker, why };
        match timeout(PATIENCE, subscription.until_subscribed()).await {
            Ok(Ok(())) => Ok(subscription),
            Ok(Err(why)) => Err(unreachable(why)),
            Err(_) => Err(unreachable(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    /// What publishes over the same connection.
    pub(super) fn client(&self) -> AsyncClient {
        self.client.clone()
    }

    async fn until_subscribed(&mut self) -> Result<(), String> {
        self.ask()?;
        loop {
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::SubAck(ack))) => {
                    let refused =
                        |code: &SubscribeReasonCode| *code == SubscribeReasonCode::Failure;
                    let codes = ack.return_codes.iter().map(Some).chain([None]);
                    let refused =
                        self.filters.iter().zip(codes).find(|(_, code)| code.is_none_or(refused));
                    return match refused {
                        Some((filter, _)) => Err(format!("it refuses the topic `{filter}`")),
                        None => Ok(()),
                    };
                }
                // Nothing that is published now is of this run.
                Ok(_) => {}
                Err(error) => return Err(chain(&error)),
            }
        }
    }

    fn ask(&self) -> Result<(), String> {
        let filter = |filter: &String| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce);
        let asked = self.client.try_subscribe_many(self.filters.iter().map(filter));
        asked.map_err(|error| error.to_string())
    }

    /// The next message; it connects again where it has to. It may be dropped and asked for again.
    pub(super) async fn next(&mut self) -> Publish {
        loop {
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(ack))) if !ack.session_present => {
                    // What came meanwhile is lost to us, as the broker lost the session.
                    if let Err(error) = self.ask() {
                        tracing::warn!(%error, "cannot subscribe again");
                    }
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => return publish,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(broker = self.broker, %error, "the far end connects again");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Leaves no session behind.
    pub(super) async fn leave(mut self) {
        self.events.mqtt_options.set_clean_session(true);
        self.events.clean();
        let last = async {
            while let Ok(event) = self.events.poll().await {
                if matches!(event, Event::Incoming(Packet::ConnAck(_))) {
                    return;
                }
            }
        };
        // Without an answer the broker keeps the session as long as it keeps sessions.
        let _ = timeout(PAUSE, last).await;
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        source = cause.source();
    }
    text
}
