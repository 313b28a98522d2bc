//! Mosquitto's own clients (Debian package `mosquitto-clients`), which share no code with ours.

use std::process::{Command, Output};

use device_sim::broker::{Broker, BrokerConfig, Login, Matching, QoS, Reason};

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
async fn mosquitto_sub_selects_with_wildcards() {
    // MQTT 3.1.1 §4.7.1, §4.7.2
    let broker = broker().await;
    for topic in ["a", "a/b", "a/b/c", "a/c", "/b", "$own/b"] {
        assert_success(&publish(&broker, &["-r", "-t", topic, "-m", "x", "-q", "1"]).await);
    }
    for (filter, selected) in [
        ("a/+", &["a/b", "a/c"][..]),
        ("a/#", &["a", "a/b", "a/b/c", "a/c"]),
        ("+/b", &["/b", "a/b"]),
        ("+/+/c", &["a/b/c"]),
        ("#", &["/b", "a", "a/b", "a/b/c", "a/c"]),
        ("$own/#", &["$own/b"]),
    ] {
        // What comes behind the retained messages ends it.
        let count = (selected.len() + 1).to_string();
        let arguments = ["-F", "%t", "-t", filter, "-t", "$end", "-C", &count];
        let subscriber = run("mosquitto_sub", &broker, &arguments);
        let deliveries = broker.counts().deliveries + selected.len() as u64;
        let ender = async {
            broker.wait_for(SOON, |counts| counts.deliveries >= deliveries).await.unwrap();
            assert_success(&publish(&broker, &["-t", "$end", "-m", "x", "-q", "1"]).await);
        };
        let (output, ()) = tokio::join!(subscriber, ender);
        let output = text(&output.stdout);
        let mut topics: Vec<_> = output.lines().collect();
        assert_eq!(topics.pop(), Some("$end"), "{filter}");
        topics.sort_unstable();
        assert_eq!(topics, selected, "{filter}");
    }
}

#[tokio::test]
async fn second_mosquitto_sub_of_a_client_takes_its_place() {
    // MQTT 5 §3.1.4
    let broker = broker().await;
    assert_success(&publish(&broker, &["-r", "-t", "probe", "-m", "here", "-q", "1"]).await);
    let same = ["-V", "5", "-i", "same", "-d"];
    let arguments = [&same[..], &["-t", "x", "-W", "2"]].concat();
    let first = run("mosquitto_sub", &broker, &arguments);
    let second = async {
        broker.wait_for(SOON, |counts| counts.connected == 1).await.unwrap();
        let arguments = [&same[..], &["-t", "probe", "-C", "1"]].concat();
        let output = run("mosquitto_sub", &broker, &arguments).await;
        (output, broker.counts().takeovers)
    };
    let (first, (second, takeovers)) = tokio::join!(first, second);
    assert!(text(&second.stdout).contains("here"), "{}", text(&second.stdout));
    assert_eq!(takeovers, 1);
    let told = text(&[first.stdout, first.stderr].concat());
    assert!(told.contains("142") || told.contains("taken over"), "{told}");
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
async fn mosquitto_pub_of_another_version_is_refused() {
    let broker = broker().await;
    let output = publish(&broker, &["-V", "31", "-t", "t", "-m", "x"]).await;
    assert!(!output.status.success(), "{}", text(&output.stderr));
    assert_eq!((broker.counts().refusals, broker.counts().violations), (1, 0));
}

#[tokio::test]
async fn messages_and_properties_pass_between_mosquitto_clients_of_both_versions() {
    // MQTT 5 §3.3.2.3
    let broker = broker().await;
    assert_success(&publish(&broker, &["-V", "5", "-r", "-t", "t", "-m", "0", "-q", "1"]).await);
    let arguments = ["-t", "t", "-q", "2", "-C", "3"];
    let format = ["-V", "5", "-F", "%p %q %C %D %E %F %R %P %S"];
    let identified = ["-D", "subscribe", "subscription-identifier", "7"];
    let new = [&arguments[..], &format, &identified].concat();
    let new = run("mosquitto_sub", &broker, &new);
    let old = [&arguments[..], &["-V", "311"]].concat();
    let old = run("mosquitto_sub", &broker, &old);
    let publisher = async {
        broker.wait_for(SOON, |counts| counts.deliveries == 2).await.unwrap();
        let properties = "-V 5 -t t -m 1 -q 2 -D publish content-type text/plain \
             -D publish correlation-data c -D publish message-expiry-interval 60 \
             -D publish payload-format-indicator 1 -D publish response-topic r \
             -D publish user-property k v";
        let properties: Vec<&str> = properties.split_whitespace().collect();
        assert_success(&publish(&broker, &properties).await);
        assert_success(&publish(&broker, &["-V", "311", "-t", "t", "-m", "2", "-q", "1"]).await);
    };
    let (new, old, ()) = tokio::join!(new, old, publisher);
    assert_success(&new);
    let lines: Vec<String> = text(&new.stdout)
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(lines, ["0 1 7", "1 2 text/plain c 60 1 r k:v 7", "2 1 7"]);
    assert_eq!(text(&old.stdout), "0\n1\n2\n");
    let recorded = broker.recorded();
    let properties = recorded[1].properties.as_ref().unwrap();
    assert_eq!(properties.user("k").collect::<Vec<_>>(), ["v"]);
}

#[tokio::test]
async fn mosquitto_sub_of_either_version_shares_a_subscription() {
    // MQTT 5 §4.8.2
    let broker = broker().await;
    assert_success(&publish(&broker, &["-r", "-t", "probe", "-m", "subscribed", "-q", "1"]).await);
    let arguments = ["-t", "$share/g/t", "-t", "probe", "-q", "1", "-C", "3", "-V"];
    let (new, old) = ([&arguments[..], &["5"]].concat(), [&arguments[..], &["311"]].concat());
    let new = run("mosquitto_sub", &broker, &new);
    let old = run("mosquitto_sub", &broker, &old);
    let publisher = async {
        broker.wait_for(SOON, |counts| counts.deliveries == 2).await.unwrap();
        for n in ["1", "2", "3", "4"] {
            assert_success(&publish(&broker, &["-t", "t", "-m", n, "-q", "1"]).await);
        }
    };
    let (new, old, ()) = tokio::join!(new, old, publisher);
    let mut all: Vec<String> = [text(&new.stdout), text(&old.stdout)]
        .iter()
        .flat_map(|output| output.lines().skip(1).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(all.len(), 4, "two for each");
    all.sort();
    assert_eq!(all, ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn mosquitto_sub_with_a_session_expiry_receives_what_it_missed_in_time() {
    // MQTT 5 §3.1.2.11.2
    let broker = broker().await;
    let session = ["-V", "5", "-c", "-x", "60", "-i", "keeper", "-t", "k", "-q", "1"];
    assert_success(&run("mosquitto_sub", &broker, &[&session[..], &["-E"]].concat()).await);
    broker.wait_for(SOON, |counts| counts.connected == 0).await.unwrap();
    assert_eq!(broker.counts().sessions, 1);
    assert_success(&publish(&broker, &["-V", "5", "-t", "k", "-m", "1", "-q", "1"]).await);
    let output = run("mosquitto_sub", &broker, &[&session[..], &["-C", "1"]].concat()).await;
    assert_eq!(text(&output.stdout), "1\n");
    let ending = ["-V", "5", "-c", "-x", "0", "-i", "keeper", "-t", "k", "-E"];
    assert_success(&run("mosquitto_sub", &broker, &ending).await);
    broker.wait_for(SOON, |counts| counts.sessions == 0).await.unwrap();
}

#[tokio::test]
async fn mosquitto_clients_see_what_goes_wrong() {
    let broker = broker().await;
    let message = ["-V", "5", "-t", "t", "-m", "x", "-q", "1"];
    broker.faults().reject(Some((Reason::QuotaExceeded, Matching::all().once())));
    let output = publish(&broker, &message).await;
    assert!(text(&output.stderr).contains("Quota exceeded"), "{}", text(&output.stderr));
    broker.faults().refuse(Some(Reason::Banned));
    let output = publish(&broker, &message).await;
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("Banned"), "{}", text(&output.stderr));
    broker.faults().clear();
    broker.faults().announce(|limits| limits.maximum_qos = QoS::AtMostOnce);
    let output = publish(&broker, &message).await;
    assert!(text(&output.stderr).to_lowercase().contains("qos"), "{}", text(&output.stderr));
    broker.faults().clear();
    broker.faults().disconnect_once(Reason::AdministrativeAction, 2);
    let output = run("mosquitto_sub", &broker, &["-V", "5", "-t", "t", "-d", "-C", "1"]).await;
    let said = text(&[output.stdout, output.stderr].concat());
    assert!(said.contains("152") || said.contains("dministrative"), "{said}");
    assert!(broker.recorded().is_empty());
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
