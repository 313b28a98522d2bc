//! Clients that mean no good, or are broken.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::harness::clock::{PATIENCE, wait_until};
use crate::harness::http::{HttpClient, ask, request};
use crate::start;

/// A request that must not be heard, behind one that is wrong.
const HIDDEN: &str = "PUT /r/evil/t HTTP/1.1\r\nHost: gw\r\nContent-Length: 1\r\n\r\n1";

/// What comes back for these bytes, up to the end of the connection.
fn all(web: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(web).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The gateway may have had enough before the end.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn requests_that_two_servers_could_read_differently_end_the_connection() {
    let gateway = start(r#", timeout = "2s""#, "");
    let web = gateway.address("web");
    let put = "PUT /r/a/t HTTP/1.1\r\nHost: gw\r\n";
    for (what, request) in [
        // RFC 9112 §6.1, §6.3
        (
            "both lengths",
            format!("{put}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "both, the other way round",
            format!("{put}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n"),
        ),
        ("two lengths", format!("{put}Content-Length: 1\r\nContent-Length: 2\r\n\r\n12")),
        ("a list of lengths", format!("{put}Content-Length: 1, 2\r\n\r\n12")),
        ("a signed length", format!("{put}Content-Length: +1\r\n\r\n1")),
        ("a negative length", format!("{put}Content-Length: -1\r\n\r\n1")),
        ("a length that overflows", format!("{put}Content-Length: 18446744073709551617\r\n\r\n1")),
        ("an unknown coding", format!("{put}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n")),
        ("chunked not last", format!("{put}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n")),
        (
            "chunked in HTTP/1.0",
            "PUT /r/a/t HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "a chunk without a size",
            format!("{put}Transfer-Encoding: chunked\r\n\r\nx\r\n1\r\n0\r\n\r\n"),
        ),
        (
            "a chunk that is longer than it says",
            format!("{put}Transfer-Encoding: chunked\r\n\r\n1\r\n12\r\n0\r\n\r\n"),
        ),
        (
            "a chunk of too many bytes",
            format!("{put}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n1\r\n0\r\n\r\n"),
        ),
        ("a space before the colon", format!("{put}Content-Length : 1\r\n\r\n1")),
        ("a folded line", format!("{put}Content-Type: text/plain\r\n x\r\n\r\n")),
        ("NUL in a line", format!("{put}Content-Type: text\0/plain\r\n\r\n")),
        ("NUL in the path", "PUT /r/a\0/t HTTP/1.1\r\nHost: gw\r\n\r\n".to_owned()),
        ("a lone carriage return", format!("{put}X: a\rContent-Length: 1\r\n\r\n")),
        ("another protocol", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n".to_owned()),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("no method", "\r\n\r\n /r HTTP/1.1\r\n\r\n".to_owned()),
    ] {
        let answer = all(web, format!("{request}{HIDDEN}").as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
        assert!(!answer.contains(" 202 "), "{what}: {answer}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{what}: {answer}");
    }
    // RFC 9112 §3.2
    for host in ["", "Host: a\r\nHost: b\r\n"] {
        let answer =
            all(web, format!("GET /r HTTP/1.1\r\n{host}Connection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host}: {answer}");
    }
    assert_eq!(ask(web, "GET /r/evil", b"").status, 404, "the hidden request was not heard");
    assert!(gateway.sum("/sources/web/refused") >= 20, "{}", gateway.status());
}

#[test]
fn a_head_has_a_largest_size() {
    let gateway = start("", "");
    let web = gateway.address("web");
    let long = format!("GET /r HTTP/1.1\r\nHost: gw\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert!(all(web, long.as_bytes()).starts_with("HTTP/1.1 431 "), "a long line");
    let many = format!("GET /r HTTP/1.1\r\nHost: gw\r\n{}\r\n", "X: x\r\n".repeat(100));
    assert!(all(web, many.as_bytes()).starts_with("HTTP/1.1 431 "), "many lines");
    let path = format!("GET /{} HTTP/1.1\r\nHost: gw\r\n\r\n", "x".repeat(70_000));
    assert!(all(web, path.as_bytes()).starts_with("HTTP/1.1 4"), "a long path");
    // A stream without an end.
    let before = gateway.memory_kib();
    let endless = vec![b'x'; 32 << 20];
    let answer = all(web, &endless);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    let grown = gateway.memory_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB");
    assert_eq!(ask(web, "GET /r", b"").status, 200);
}

#[test]
fn clients_that_are_slow_are_closed_and_hold_up_nobody() {
    let gateway = start(r#", timeout = "1s", max_clients = 60"#, "");
    let web = gateway.address("web");
    let connect = |bytes: &[u8]| {
        let mut client = HttpClient::connect(web).unwrap();
        client.send(bytes).unwrap();
        client
    };
    let mut heads: Vec<_> = (0..20).map(|_| connect(b"PUT /r/a/t HTTP/1.1\r\nHo")).collect();
    let mut bodies: Vec<_> = (0..20)
        .map(|_| connect(b"PUT /r/a/t HTTP/1.1\r\nHost: gw\r\nContent-Length: 10\r\n\r\n12"))
        .collect();
    let mut silent: Vec<_> = (0..10).map(|_| connect(b"")).collect();
    assert_eq!(ask(web, "PUT /r/a/t", b"1").status, 202, "others are served meanwhile");
    for client in heads.iter_mut().chain(&mut silent) {
        assert!(client.is_closed());
    }
    for client in &mut bodies {
        assert_eq!(client.answer().unwrap().status, 408);
        assert!(client.is_closed());
    }
    assert_eq!(gateway.count("/sources/web/refused/slow_client/count"), 20);
    wait_until("the clients to be gone", || gateway.count("/sources/web/clients") == 0);
}

#[test]
fn a_thousand_clients_are_served_and_one_more_is_closed() {
    const CLIENTS: usize = 1000;
    let gateway = start(", max_clients = 1000", "");
    let web = gateway.address("web");
    let before = gateway.memory_kib();
    let put = request("PUT /r/a/t", b"1");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(web).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(&put).unwrap();
        clients.push(client);
    }
    let mut start = [0; 13];
    for client in &mut clients {
        client.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 202 ");
    }
    let grown = gateway.memory_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for {CLIENTS} clients");
    assert!(HttpClient::connect(web).unwrap().is_closed());
    assert_eq!(gateway.count("/sources/web/refused/too_many_clients/count"), 1);
    drop(clients);
    wait_until("room for another one", || gateway.count("/sources/web/clients") == 0);
    assert_eq!(ask(web, "PUT /r/a/t", b"1").status, 202);
}

#[test]
fn bodies_take_no_more_memory_than_there_is_room_for() {
    const SIZE: usize = 1 << 20;
    let gateway = start("", "");
    let web = gateway.address("web");
    let before = gateway.memory_kib();
    let head = format!("PUT /r/a/t HTTP/1.1\r\nHost: gw\r\nContent-Length: {SIZE}\r\n\r\n");
    let all_but_one = vec![b'x'; SIZE - 1];
    // Each waits with its last byte, so that all of them are there at a time.
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let mut client = HttpClient::connect(web).unwrap();
            client.send(head.as_bytes()).unwrap();
            let _ = client.send(&all_but_one);
            client
        })
        .collect();
    wait_until("some to be refused", || gateway.count("/sources/web/refused/busy/count") >= 20);
    let grown = gateway.memory_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
    let mut counts = [0, 0];
    for mut client in clients {
        let _ = client.send(b"x");
        let answer = client.answer().unwrap();
        let retry = answer.header("retry-after").map(str::to_owned);
        match (answer.status, retry.as_deref()) {
            (202, None) => counts[0] += 1,
            (503, Some("2")) => counts[1] += 1,
            _ => panic!("{answer:?}"),
        }
    }
    assert!(counts[0] >= 10 && counts[1] >= 20, "{counts:?}");
    assert_eq!(ask(web, "PUT /r/a/t", b"1").status, 202);
}
