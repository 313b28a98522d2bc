//! Mosquitto behind TLS: what works, and what the operator is told where it does not.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;

use crate::authority::{Authority, Pair};
use crate::harness::clock::{wait_for, wait_until};
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::{Mosquitto, table_of};
use crate::harness::process::run;
use crate::harness::temp::{TempDir, port};
use crate::{config, last_failure, send};

/// The names of the machine on which the tests run.
const HERE: &str = "DNS:localhost,IP:127.0.0.1";

/// The table of the broker `b`, reached through its door with TLS.
fn table(mosquitto: &Mosquitto, host: &str, keys: &str) -> String {
    table_of("b", &format!("\"mqtts://{host}:{}\"", mosquitto.door())) + keys
}

fn trust(authority: &Authority) -> String {
    format!("tls.ca_file = \"{}\"\n", authority.cert().display())
}

/// A listener that wants certificates of this authority from its clients.
fn wanting(server: &Pair, authority: &Authority) -> String {
    let ca = authority.cert();
    format!("{}cafile {}\nrequire_certificate true\n", server.listener(), ca.display())
}

/// Sees a reading through: handed in, published, acknowledged.
fn assert_delivers(gateway: &Gateway, mosquitto: &Mosquitto, value: u64) {
    let all = mosquitto.subscribe("r/#");
    send(gateway, value);
    all.payload("r/d/v", value.to_string().as_bytes());
    wait_until("nothing to wait", || gateway.count("/store/pending/b") == 0);
}

#[test]
fn readings_arrive_over_tls_by_name_and_by_address() {
    let authority = Authority::new();
    let mosquitto = Mosquitto::start_with(&authority.issue(HERE).listener(), &[]);
    for host in ["localhost", "127.0.0.1"] {
        let gateway = Gateway::start(&config(&table(&mosquitto, host, &trust(&authority))));
        assert_delivers(&gateway, &mosquitto, 1);
        let url = format!("mqtts://{host}:{}", mosquitto.door());
        assert_eq!(gateway.status()["brokers"]["b"]["url"], url);
        assert_eq!(gateway.sum("/brokers/b/disconnects"), 0);
    }
}

#[test]
fn readings_arrive_where_only_tls_1_2_is_spoken() {
    let authority = Authority::new();
    let dir = TempDir::new();
    let limits = dir.join("openssl.cnf");
    fs::write(&limits, ONLY_TLS_1_2).unwrap();
    let mosquitto =
        Mosquitto::start_with(&authority.issue(HERE).listener(), &[("OPENSSL_CONF", &limits)]);
    let address = format!("127.0.0.1:{}", mosquitto.door());
    let mut newer = authority.openssl(&["s_client", "-tls1_3", "-connect", &address]);
    assert!(!newer.output().unwrap().status.success(), "the broker takes TLS 1.3");
    let gateway = Gateway::start(&config(&table(&mosquitto, "localhost", &trust(&authority))));
    assert_delivers(&gateway, &mosquitto, 1);
}

const ONLY_TLS_1_2: &str = "openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = limits
[limits]
MaxProtocol = TLSv1.2
";

#[test]
fn a_broker_that_wants_a_certificate_gets_one() {
    let authority = Authority::new();
    let door = wanting(&authority.issue(HERE), &authority);
    let mosquitto = Mosquitto::start_with(&door, &[]);
    let keys = trust(&authority) + &authority.issue("").keys();
    let gateway = Gateway::start(&config(&table(&mosquitto, "localhost", &keys)));
    assert_delivers(&gateway, &mosquitto, 1);
}

#[test]
fn a_missing_client_certificate_is_told_by_either_version_of_tls() {
    let authority = Authority::new();
    let dir = TempDir::new();
    let limits = dir.join("openssl.cnf");
    fs::write(&limits, ONLY_TLS_1_2).unwrap();
    let door = wanting(&authority.issue(HERE), &authority);
    for env in [&[][..], &[("OPENSSL_CONF", limits.as_path())]] {
        let mosquitto = Mosquitto::start_with(&door, env);
        let gateway = Gateway::start(&config(&table(&mosquitto, "localhost", &trust(&authority))));
        // With TLS 1.3 the gateway has finished its handshake before the broker refuses it.
        let reason = if env.is_empty() { "broken" } else { "tls" };
        let failure = last_failure(&gateway, reason);
        assert!(failure.contains("wants a certificate from the gateway"), "{failure}");
        assert!(failure.contains("`tls.cert_file`"), "{failure}");
    }
}

#[test]
fn a_client_certificate_of_another_authority_is_told() {
    let (authority, other) = (Authority::new(), Authority::new());
    let door = wanting(&authority.issue(HERE), &authority);
    let mosquitto = Mosquitto::start_with(&door, &[]);
    let keys = trust(&authority) + &other.issue("").keys();
    let gateway = Gateway::start(&config(&table(&mosquitto, "localhost", &keys)));
    let failure = last_failure(&gateway, "broken");
    assert!(failure.contains("not accept the gateway's certificate"), "{failure}");
}

#[test]
fn an_unknown_authority_is_told_and_the_systems_are_trusted_where_none_is_named() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mosquitto = Mosquitto::start_with(&authority.issue(HERE).listener(), &[]);
    let gateway = Gateway::start(&config(&table(&mosquitto, "localhost", &trust(&other))));
    let failure = last_failure(&gateway, "tls");
    assert!(failure.contains("signed by no CA in"), "{failure}");
    assert!(failure.contains("ca.pem (`tls.ca_file`)"), "{failure}");

    // What OpenSSL's variables name stands for the system's.
    let mut gateway = Gateway::new(&config(&table(&mosquitto, "localhost", "")));
    let empty = TempDir::new();
    let no_folder = format!("SSL_CERT_DIR={}", empty.path().display());
    let launch = |gateway: &mut Gateway, file: &Path| {
        let file = format!("SSL_CERT_FILE={}", file.display());
        gateway.launch_under(&["env", &no_folder, &file]);
        gateway.wait_until_up();
    };
    launch(&mut gateway, &other.cert());
    let failure = last_failure(&gateway, "tls");
    assert!(failure.contains("none of the system's CAs"), "{failure}");
    assert!(failure.contains("`tls.ca_file`"), "{failure}");
    gateway.terminate();
    launch(&mut gateway, &authority.cert());
    assert_delivers(&gateway, &mosquitto, 1);
    gateway.terminate();
    launch(&mut gateway, &empty.join("none.pem"));
    let failure = last_failure(&gateway, "tls");
    assert!(failure.contains("the system has no certificates of CAs"), "{failure}");
}

#[test]
fn a_certificate_for_another_name_is_told_with_its_names_and_taken_by_server_name() {
    let authority = Authority::new();
    let server = authority.issue("DNS:broker.example,DNS:*.plant.example,IP:192.0.2.7");
    let mosquitto = Mosquitto::start_with(&server.listener(), &[]);
    let gateway = Gateway::start(&config(&table(&mosquitto, "localhost", &trust(&authority))));
    let failure = last_failure(&gateway, "tls");
    let expected = "is for broker.example, *.plant.example, 192.0.2.7, not for localhost";
    assert!(failure.contains(expected), "{failure}");
    assert!(failure.contains("`tls.server_name`"), "{failure}");

    let keys = trust(&authority) + "tls.server_name = \"broker.example\"\n";
    let gateway = Gateway::start(&config(&table(&mosquitto, "localhost", &keys)));
    assert_delivers(&gateway, &mosquitto, 1);
}

#[test]
fn a_certificate_without_names_is_told() {
    let authority = Authority::new();
    for (names, expected) in [
        ("", "X.509 version 1: it needs version 3, with localhost as subjectAltName"),
        ("email:broker@example.com", "has no name: it needs localhost as subjectAltName"),
    ] {
        let mosquitto = Mosquitto::start_with(&authority.issue(names).listener(), &[]);
        let gateway = Gateway::start(&config(&table(&mosquitto, "localhost", &trust(&authority))));
        let failure = last_failure(&gateway, "tls");
        assert!(failure.contains(expected), "{failure}");
    }
}

#[test]
fn an_expired_certificate_is_told_with_its_time_and_the_clock() {
    let authority = Authority::new();
    let server = authority.issue_until(HERE, "20200201000000Z");
    let mosquitto = Mosquitto::start_with(&server.listener(), &[]);
    let gateway = Gateway::start(&config(&table(&mosquitto, "localhost", &trust(&authority))));
    let failure = last_failure(&gateway, "tls");
    assert!(failure.contains("was valid until 2020-02-01T00:00:00Z"), "{failure}");
    assert!(failure.contains("the gateway's clock says 20"), "{failure}");
}

#[test]
fn the_certificate_of_an_authority_is_not_that_of_a_broker() {
    let authority = Authority::new();
    let server = Pair { cert: authority.cert(), key: authority.cert().with_file_name("ca.key") };
    let mosquitto = Mosquitto::start_with(&server.listener(), &[]);
    let gateway = Gateway::start(&config(&table(&mosquitto, "localhost", &trust(&authority))));
    let failure = last_failure(&gateway, "tls");
    assert!(failure.contains("shows the certificate of a CA"), "{failure}");
}

#[test]
fn a_port_without_tls_and_one_with_it_are_told_apart() {
    let authority = Authority::new();
    let mosquitto = Mosquitto::start_with(&authority.issue(HERE).listener(), &[]);
    let plain = mosquitto.url().replace("mqtt://", "mqtts://");
    let broker = table_of("b", &format!("\"{plain}\"")) + &trust(&authority);
    let gateway = Gateway::start(&config(&broker));
    let failure = last_failure(&gateway, "tls");
    assert!(failure.contains("if this is a port without TLS, write mqtt://"), "{failure}");

    let secure = format!("\"mqtt://localhost:{}\"", mosquitto.door());
    let gateway = Gateway::start(&config(&table_of("b", &secure)));
    let failure = last_failure(&gateway, "broken");
    assert!(failure.contains("write mqtts://"), "{failure}");
}

/// RFC 6066 §3, RFC 7301 §3.1: both are readable in the first message.
#[test]
fn the_name_and_the_protocols_are_asked_for() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let keys = "tls.server_name = \"broker.example\"\ntls.alpn = [\"x-amzn-mqtt-ca\", \"mqtt\"]\n";
    let broker = table_of("b", &format!("\"mqtts://{}\"", listener.local_addr().unwrap()));
    let _gateway = Gateway::start(&config(&(broker + &trust(&authority) + keys)));
    let mut hello = [0; 4096];
    let length = listener.accept().unwrap().0.read(&mut hello).unwrap();
    let has = |part: &[u8]| hello[..length].windows(part.len()).any(|window| window == part);
    assert!(has(b"\x00\x00\x0ebroker.example"), "{hello:?}");
    assert!(has(b"\x00\x14\x0ex-amzn-mqtt-ca\x04mqtt"), "{hello:?}");
}

#[test]
fn renewed_certificates_are_used_without_a_restart() {
    let authority = Authority::new();
    let dir = TempDir::new();
    let expired = authority.issue_until("", "20200201000000Z");
    let own = expired.copy_to(dir.path());
    let ca = dir.join("ca.pem");
    fs::copy(authority.cert(), &ca).unwrap();
    let (door, lines) = (port(), wanting(&authority.issue(HERE), &authority));
    let mosquitto = Mosquitto::start_at(door, &lines, &[]);
    let keys = format!("tls.ca_file = \"{}\"\n{}", ca.display(), own.keys());
    let mut gateway = Gateway::start(&config(&table(&mosquitto, "localhost", &keys)));
    last_failure(&gateway, "broken");
    own.replace_with(&authority.issue(""));
    assert_delivers(&gateway, &mosquitto, 1);

    // While the files cannot be read, what was read before is used.
    fs::write(&own.key, "half of a k").unwrap();
    drop(mosquitto);
    let mosquitto = Mosquitto::start_at(door, &lines, &[]);
    assert_delivers(&gateway, &mosquitto, 2);
    let warning = wait_for("a warning", || {
        let messages = gateway.log_entries().into_iter();
        let mut messages =
            messages.filter_map(|e| e["fields"]["message"].as_str().map(str::to_owned));
        messages.find(|message| message.contains("going on with what was read before"))
    });
    assert!(warning.contains("there is no private key in"), "{warning}");

    // A broker that goes over to another authority.
    let other = Authority::new();
    drop(mosquitto);
    let mosquitto = Mosquitto::start_at(door, &other.issue(HERE).listener(), &[]);
    own.replace_with(&authority.issue(""));
    gateway.wait_for_count("/brokers/b/disconnects/tls/count", 1);
    fs::copy(other.cert(), &ca).unwrap();
    assert_delivers(&gateway, &mosquitto, 3);
    assert!(gateway.is_running());
}

#[test]
fn keys_of_every_form_are_taken() {
    let authority = Authority::new();
    let rsa = ["genrsa", "-traditional", "-out", "rsa.pkcs1", "2048"];
    run(&mut authority.openssl(&rsa));
    let pkcs8 = ["pkcs8", "-topk8", "-nocrypt", "-in", "rsa.pkcs1", "-out", "rsa.pkcs8"];
    run(&mut authority.openssl(&pkcs8));
    let request = ["req", "-x509", "-key", "rsa.pkcs1", "-subj", "/CN=x", "-out", "rsa.pem"];
    run(&mut authority.openssl(&request));
    let pair = authority.issue("");
    let (own, dir) = (pair.key.display().to_string(), authority.cert());
    run(&mut authority.openssl(&["ec", "-in", &own, "-out", "ec.sec1"]));
    let at = |name: &str| dir.with_file_name(name);
    for (cert, key, begin) in [
        (at("rsa.pem"), at("rsa.pkcs1"), "-----BEGIN RSA PRIVATE KEY-----"),
        (at("rsa.pem"), at("rsa.pkcs8"), "-----BEGIN PRIVATE KEY-----"),
        (pair.cert.clone(), at("ec.sec1"), "-----BEGIN EC PRIVATE KEY-----"),
    ] {
        assert!(fs::read_to_string(&key).unwrap().contains(begin), "{begin}");
        let broker = table_of("b", "\"mqtts://h\"") + &Pair { cert, key }.keys();
        run(&mut Gateway::new(&config(&broker)).command("check"));
    }
}
