//! Mosquitto's own clients (Debian package `mosquitto-clients`), which share no code with ours.

use std::process::{Command, Output};

use device_sim::broker::{Broker, BrokerConfig, Login, QoS};

use super::SOON;
use super::client::{broker, payloads};

/// Runs `program` against `broker` to its end.
async fn run(program: &'static str, broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &broker.address().port().to_string()]);
    command.args(arguments);
    let finished = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    finished.unwrap_or_else(|error| {
        panic!("cannot run {program}: {error}; install the Debian package mosquitto-clients")
    })
}

async fn publish(broker: &Broker, arguments: &[&str]) -> Output {
    run("mosquitto_pub", broker, arguments).await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
}

#[tokio::test]
async fn mosquitto_pub_is_recorded_at_every_qos() {
    let broker = broker().await;
    for (n, qos) in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().enumerate() {
        let level = n.to_string();
        let output = publish(&broker, &["-t", "a/b", "-m", "21.5", "-q", &level, "-i", "m"]).await;
        assert_success(&output);
        broker.wait_for(SOON, |counts| counts.publishes == n as u64 + 1).await.unwrap();
        let recorded = &broker.recorded()[n];
        assert_eq!((&*recorded.client, &*recorded.topic, recorded.qos), ("m", "a/b", qos));
        assert_eq!(recorded.payload, "21.5");
    }
    let counts = broker.counts();
    assert_eq!((counts.violations, counts.wills), (0, 0));
}

#[tokio::test]
async fn mosquitto_sub_receives_live_and_retained_messages() {
    let broker = broker().await;
    assert_success(&publish(&broker, &["-r", "-t", "s/old", "-m", "retained", "-q", "1"]).await);
    let subscriber = run("mosquitto_sub", &broker, &["-v", "-t", "s/#", "-q", "2", "-C", "4"]);
    let publisher = async {
        broker.wait_for(SOON, |counts| counts.deliveries == 1).await.unwrap();
        for qos in ["0", "1", "2"] {
            assert_success(&publish(&broker, &["-t", "s/new", "-m", qos, "-q", qos]).await);
        }
    };
    let (output, ()) = tokio::join!(subscriber, publisher);
    assert_success(&output);
    assert_eq!(text(&output.stdout), "s/old retained\ns/new 0\ns/new 1\ns/new 2\n");
}

#[tokio::test]
async fn mosquitto_sub_with_a_kept_session_receives_what_it_missed() {
    let broker = broker().await;
    let session = ["-c", "-i", "keeper", "-t", "k", "-q", "1"];
    assert_success(&run("mosquitto_sub", &broker, &[&session[..], &["-E"]].concat()).await);
    broker.wait_for(SOON, |counts| counts.connected == 0).await.unwrap();
    for n in ["1", "2"] {
        assert_success(&publish(&broker, &["-t", "k", "-m", n, "-q", "1"]).await);
    }
    let output = run("mosquitto_sub", &broker, &[&session[..], &["-C", "2"]].concat()).await;
    assert_eq!(text(&output.stdout), "1\n2\n");
}

#[tokio::test]
async fn will_of_a_killed_mosquitto_sub_is_recorded() {
    let broker = broker().await;
    let port = broker.address().port().to_string();
    let mut child = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &port, "-t", "x"])
        .args(["--will-topic", "status", "--will-payload", "offline", "--will-retain"])
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot run mosquitto_sub: {error}; install mosquitto-clients")
        });
    broker.wait_for(SOON, |counts| counts.connects == 1).await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    broker.wait_for(SOON, |counts| counts.wills == 1).await.unwrap();
    assert_eq!(payloads(&broker), ["offline"]);
}

#[tokio::test]
async fn mosquitto_pub_needs_the_right_login() {
    let login = Some(Login { user: "u".to_owned(), password: b"secret".to_vec() });
    let broker = Broker::start(BrokerConfig { login, ..BrokerConfig::default() }).await.unwrap();
    let message = ["-t", "t", "-m", "x", "-q", "1"];
    let refused = publish(&broker, &message).await;
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("not authorised"), "{}", text(&refused.stderr));
    let login = ["-u", "u", "-P", "secret"];
    assert_success(&publish(&broker, &[&message[..], &login].concat()).await);
    assert_eq!(payloads(&broker), ["x"]);
}

#[tokio::test]
async fn mosquitto_pub_of_other_versions_is_refused() {
    let broker = broker().await;
    for version in ["31", "5"] {
        let output = publish(&broker, &["-V", version, "-t", "t", "-m", "x"]).await;
        assert!(!output.status.success(), "version {version}: {}", text(&output.stderr));
    }
    assert_eq!((broker.counts().refusals, broker.counts().violations), (2, 0));
}

#[tokio::test]
async fn thousand_lines_of_mosquitto_pub_arrive_once_each() {
    let broker = broker().await;
    let lines: String = (0..1000).map(|n| format!("{n}\n")).collect();
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("thousand-lines");
    std::fs::write(&file, lines).unwrap();
    let port = broker.address().port().to_string();
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port, "-t", "l", "-q", "2", "-l"]);
    command.stdin(std::fs::File::open(&file).unwrap());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    assert_success(&output.expect("install the Debian package mosquitto-clients"));
    // With -l it may leave before everything was acknowledged; what was sent is there by then.
    let recorded = payloads(&broker);
    let numbers: Vec<_> = (0..recorded.len()).map(|n| n.to_string()).collect();
    assert!(!recorded.is_empty());
    assert_eq!(recorded, numbers);
}
