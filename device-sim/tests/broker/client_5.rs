//! A client of MQTT 5 that sends and receives single packets, with the codec of `rumqttc`.

use std::net::SocketAddr;

use bytes::BytesMut;
use device_sim::broker::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, ConnectReturnCode, DisconnectReasonCode, Filter, LastWill,
    Packet, PubAckReason, Publish, PublishProperties, Subscribe,
};
use rumqttc::v5::mqttbytes::{Error, qos};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::within;

/// A connection under the test's full control.
pub(crate) struct Raw5 {
    pub(crate) stream: TcpStream,
    input: BytesMut,
}

impl Raw5 {
    /// Sends a CONNECT and nothing else.
    pub(crate) async fn open(
        address: SocketAddr,
        connect: Connect,
        will: Option<LastWill>,
    ) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self { stream, input: BytesMut::new() };
        raw.send(Packet::Connect(connect, will, None)).await;
        raw
    }

    /// A client with the answer that it got.
    pub(crate) async fn connect(address: SocketAddr, connect: Connect) -> (Self, ConnAck) {
        let mut raw = Self::open(address, connect, None).await;
        match raw.receive().await {
            Packet::ConnAck(ack) => (raw, ack),
            other => panic!("no CONNACK: {other:?}"),
        }
    }

    /// A client with a clean session and no keep-alive that was accepted.
    pub(crate) async fn join(address: SocketAddr, client: &str) -> Self {
        let (raw, ack) = Self::connect(address, clean(client)).await;
        assert_eq!(ack.code, ConnectReturnCode::Success);
        raw
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        within(self.stream.write_all(&bytes)).await.unwrap();
    }

    pub(crate) async fn publish(&mut self, topic: &str, level: QoS, packet_id: u16, text: &str) {
        self.send(Packet::Publish(publish(topic, level, packet_id, text))).await;
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, level: QoS) {
        let filter = Filter::new(filter, qos(level as u8).unwrap());
        let subscribe = Subscribe { pkid: 1, ..Subscribe::new(filter, None) };
        self.send(Packet::Subscribe(subscribe)).await;
        let answer = self.receive().await;
        assert!(matches!(answer, Packet::SubAck(_)), "{answer:?}");
    }

    /// The next packet.
    pub(crate) async fn receive(&mut self) -> Packet {
        loop {
            match Packet::read(&mut self.input, None) {
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

    /// What the next packet, which is a PUBACK, acknowledges.
    pub(crate) async fn receive_puback(&mut self) -> (u16, PubAckReason) {
        match self.receive().await {
            Packet::PubAck(ack) => (ack.pkid, ack.reason),
            other => panic!("not a PUBACK: {other:?}"),
        }
    }

    /// Why the broker closes the connection, which it has to do.
    pub(crate) async fn receive_end(mut self) -> DisconnectReasonCode {
        let reason = match self.receive().await {
            Packet::Disconnect(disconnect) => disconnect.reason_code,
            other => panic!("not a DISCONNECT: {other:?}"),
        };
        self.assert_closed().await;
        reason
    }

    /// Asserts that the broker closes the connection and sends nothing before.
    pub(crate) async fn assert_closed(mut self) {
        let mut rest = self.input.to_vec();
        // A reset is an end as well.
        let _ = within(self.stream.read_to_end(&mut rest)).await;
        assert_eq!(rest, b"");
    }

    /// Asserts that nothing but the answer to a ping arrives.
    pub(crate) async fn assert_silent(&mut self) {
        within(self.stream.write_all(&[0xc0, 0])).await.unwrap();
        let answer = self.receive().await;
        assert!(matches!(answer, Packet::PingResp(_)), "{answer:?}");
    }
}

pub(crate) fn clean(client: &str) -> Connect {
    Connect { keep_alive: 0, client_id: client.to_owned(), clean_start: true, properties: None }
}

pub(crate) fn kept(client: &str, expiry: u32) -> Connect {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(expiry);
    Connect { clean_start: false, properties: Some(properties), ..clean(client) }
}

pub(crate) fn publish(topic: &str, level: QoS, packet_id: u16, text: &str) -> Publish {
    let publish = Publish::new(topic, qos(level as u8).unwrap(), text.to_owned(), None);
    Publish { pkid: packet_id, ..publish }
}

pub(crate) fn with_alias(publish: Publish, alias: u16) -> Publish {
    let properties = PublishProperties { topic_alias: Some(alias), ..PublishProperties::default() };
    Publish { properties: Some(properties), ..publish }
}
