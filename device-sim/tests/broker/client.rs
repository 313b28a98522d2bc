//! Clients: one that sends and receives single packets, and the event loop of `rumqttc`.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use device_sim::broker::{Broker, BrokerConfig, QoS};
use rumqttc::mqttbytes::Error;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Packet, Publish, Subscribe, SubscribeFilter,
};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::SOON;

const MAX_PACKET: usize = 64 << 20;

pub(crate) async fn broker() -> Broker {
    Broker::start(BrokerConfig::default()).await.unwrap()
}

/// A connection under the test's full control.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    input: BytesMut,
}

impl Raw {
    /// A TCP connection without CONNECT.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, input: BytesMut::new() }
    }

    /// A client that was accepted; tells whether its session was kept.
    pub(crate) async fn connect(address: SocketAddr, connect: Connect) -> (Self, bool) {
        let mut raw = Self::open(address).await;
        raw.send(Packet::Connect(connect)).await;
        match raw.receive().await {
            Packet::ConnAck(ConnAck { code: ConnectReturnCode::Success, session_present }) => {
                (raw, session_present)
            }
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// A client with a clean session and no keep-alive that was accepted.
    pub(crate) async fn join(address: SocketAddr, client: &str) -> Self {
        Self::connect(address, clean(client)).await.0
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, MAX_PACKET).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn publish(&mut self, topic: &str, qos: QoS, packet_id: u16, payload: &str) {
        self.send(publish(topic, qos, packet_id, payload)).await;
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) {
        let filters = [SubscribeFilter::new(filter.to_owned(), qos)];
        let subscribe = Subscribe { pkid: 1, ..Subscribe::new_many(filters) };
        self.send(Packet::Subscribe(subscribe)).await;
        let answer = self.receive().await;
        assert!(matches!(answer, Packet::SubAck(_)), "{answer:?}");
    }

    /// The next packet.
    pub(crate) async fn receive(&mut self) -> Packet {
        loop {
            match Packet::read(&mut self.input, MAX_PACKET) {
                Ok(packet) => return packet,
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("the broker sent nonsense: {error}"),
            }
            let received = within(self.stream.read_buf(&mut self.input)).await.unwrap();
            assert!(received > 0, "the broker closed the connection");
        }
    }

    pub(crate) async fn receive_publish(&mut self) -> Publish {
        match self.receive().await {
            Packet::Publish(publish) => publish,
            other => panic!("not a PUBLISH: {other:?}"),
        }
    }

    /// The identifier of the next packet, which is a PUBACK.
    pub(crate) async fn receive_puback(&mut self) -> u16 {
        match self.receive().await {
            Packet::PubAck(ack) => ack.pkid,
            other => panic!("not a PUBACK: {other:?}"),
        }
    }

    /// Everything until the end of the connection, which has to come.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        let mut rest = self.input.to_vec();
        // A reset is an end as well.
        let _ = within(self.stream.read_to_end(&mut rest)).await;
        rest
    }

    /// Asserts that the broker closes the connection and sends nothing before.
    pub(crate) async fn assert_closed(self) {
        assert_eq!(self.rest().await, b"");
    }
}

pub(crate) fn clean(client: &str) -> Connect {
    Connect { keep_alive: 0, ..Connect::new(client) }
}

pub(crate) fn kept(client: &str) -> Connect {
    Connect { clean_session: false, ..clean(client) }
}

pub(crate) fn publish(topic: &str, qos: QoS, packet_id: u16, payload: &str) -> Packet {
    Packet::Publish(Publish { pkid: packet_id, ..Publish::new(topic, qos, payload) })
}

pub(crate) fn payloads(broker: &Broker) -> Vec<Bytes> {
    broker.recorded().into_iter().map(|recorded| recorded.payload).collect()
}

pub(crate) fn options(address: SocketAddr, client: &str) -> MqttOptions {
    MqttOptions::new(client, address.ip().to_string(), address.port())
}

/// The client of `rumqttc` whose events are not looked at.
pub(crate) fn event_loop_client(options: MqttOptions, tasks: &mut JoinSet<()>) -> AsyncClient {
    let (client, mut events) = AsyncClient::new(options, 10);
    tasks.spawn(async move { while events.poll().await.is_ok() {} });
    client
}

/// The next PUBLISH that an event loop receives.
pub(crate) async fn next_publish(events: &mut EventLoop) -> Publish {
    loop {
        if let Event::Incoming(Packet::Publish(publish)) = within(events.poll()).await.unwrap() {
            return publish;
        }
    }
}

/// What `future` gives, in time.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.expect("it did not happen in time")
}
