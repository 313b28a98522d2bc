//! Against the server's side of the same library; Mosquitto's is in `tests/brokers`.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::*;

type Server = WebSocketStream<DuplexStream>;

/// Both ends, with room for so many bytes between them.
async fn pair(room: usize) -> (WebSocket<DuplexStream>, Server) {
    let (client, server) = duplex(room);
    let url: BrokerUrl = "ws://broker.example/path".parse().unwrap();
    #[expect(clippy::result_large_err, reason = "the library's callback")]
    let accept = accept_hdr_async(server, |request: &Request, mut response: Response| {
        assert_eq!(request.uri().path(), "/path");
        let protocol = request.headers()["Sec-WebSocket-Protocol"].clone();
        assert_eq!(protocol, SUBPROTOCOL);
        response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        Ok(response)
    });
    let (client, server) = tokio::join!(connect(client, &url), accept);
    (client.unwrap(), server.unwrap())
}

async fn send(server: &mut Server, message: Message) {
    server.send(message).await.unwrap();
}

fn binary(bytes: &[u8]) -> Message {
    Message::Binary(Payload::copy_from_slice(bytes))
}

async fn read(client: &mut WebSocket<DuplexStream>, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes).await.map(|_| bytes)
}

#[tokio::test]
async fn frames_are_read_as_one_stream() {
    let (mut client, mut server) = pair(4096).await;
    for part in [&b"ab"[..], b"", b"cdef"] {
        send(&mut server, binary(part)).await;
    }
    assert_eq!(read(&mut client, 3).await.unwrap(), b"abc");
    assert_eq!(read(&mut client, 3).await.unwrap(), b"def");
}

#[tokio::test]
async fn what_is_written_arrives_in_bounded_frames_also_through_a_narrow_way() {
    let (mut client, mut server) = pair(1000).await;
    let sent: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let write = async {
        client.write_all(&sent).await.unwrap();
        client.flush().await.unwrap();
    };
    let receive = async {
        let mut received = Vec::new();
        while received.len() < sent.len() {
            let payload = server.next().await.unwrap().unwrap().into_data();
            assert!(payload.len() <= MAX_OUTGOING);
            received.extend_from_slice(&payload);
        }
        received
    };
    let ((), received) = tokio::join!(write, receive);
    assert_eq!(received, sent);
}

/// RFC 6455 §5.5.2.
#[tokio::test]
async fn a_ping_is_answered_while_reading() {
    let (mut client, mut server) = pair(4096).await;
    send(&mut server, Message::Ping(Payload::from_static(b"x"))).await;
    send(&mut server, binary(b"a")).await;
    assert_eq!(read(&mut client, 1).await.unwrap(), b"a");
    let mut rest = [0];
    let answer = tokio::select! {
        _ = client.read(&mut rest) => panic!("nothing to read"),
        answer = server.next() => answer.unwrap().unwrap(),
    };
    assert_eq!(answer, Message::Pong(Payload::from_static(b"x")));
}

#[tokio::test]
async fn the_end_is_noticed_and_its_reason_told() {
    let (mut client, mut server) = pair(4096).await;
    send(&mut server, Message::Close(None)).await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);

    let (mut client, mut server) = pair(4096).await;
    let frame = CloseFrame { code: CloseCode::Policy, reason: "too many".into() };
    send(&mut server, Message::Close(Some(frame))).await;
    let error = client.read(&mut [0]).await.unwrap_err().to_string();
    assert!(error.contains("1008 too many"), "{error}");

    let (mut client, server) = pair(4096).await;
    drop(server);
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

/// MQTT 3.1.1 §6.0 [MQTT-6.0.0-1].
#[tokio::test]
async fn text_is_refused() {
    let (mut client, mut server) = pair(4096).await;
    send(&mut server, Message::text("hello")).await;
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_before_it_is_there() {
    let (mut client, mut server) = pair(4096).await;
    let large = binary(&vec![0; MAX_INCOMING + 1]);
    let mut byte = [0];
    tokio::select! {
        _ = server.send(large) => panic!("it does not fit between them"),
        read = client.read(&mut byte) => {
            assert!(read.unwrap_err().to_string().contains("too long"));
        }
    }
}

#[tokio::test]
async fn a_shutdown_says_good_bye() {
    let (mut client, mut server) = pair(4096).await;
    client.shutdown().await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::Close(None));
}

#[tokio::test]
async fn an_answer_that_is_no_websocket_is_told() {
    let url: BrokerUrl = "ws://broker.example/path".parse().unwrap();
    for (answer, expected) in [
        (&b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..], "correct the path"),
        (b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n", "no WebSocket"),
        (b"", "closed the connection"),
    ] {
        let (client, mut server) = duplex(4096);
        let talk = async {
            let mut request = [0; 1024];
            let length = server.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /path HTTP/1.1\r\n"));
            server.write_all(answer).await.unwrap();
            drop(server);
        };
        let (connected, ()) = tokio::join!(connect(client, &url), talk);
        let error = connected.map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
