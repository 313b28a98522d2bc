//! A store or a disk without room: what each policy does, and how it goes on.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::clock::{PATIENCE, wait_until};
use crate::harness::coap::{Node, request};
use crate::harness::disk::SmallDisk;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::sim::Recorder;

/// A configuration with these lines in its table of the store.
fn config(broker: &Recorder, store: &str) -> String {
    format!(
        r#"
[store]
{store}
[sources.nodes]
link = {{ type = "coap", bind = ["127.0.0.1:0"], separate_after = "50ms" }}
[sources.lines]
device = "tcp"
link = {{ type = "tcp", bind = "127.0.0.1:0", reply = true }}
decode = {{ type = "value", name = "v" }}
[brokers.sim]
url = "{}"
max_backoff = "1s"
[routes.all]
"#,
        broker.url()
    )
}

fn connect(gateway: &Gateway) -> LineClient {
    LineClient::connect(gateway.address("lines")).unwrap()
}

/// A text that begins with a number and is so long.
fn text(number: usize, bytes: usize) -> String {
    format!("{number}:{}", "x".repeat(bytes))
}

fn number(text: &str) -> usize {
    text.split_once(':').unwrap().0.parse().unwrap()
}

/// The numbers of the texts that arrived over TCP, in order.
fn arrived(broker: &Recorder) -> Vec<usize> {
    let readings = broker.readings().into_iter().filter(|reading| reading.device == "tcp");
    readings.map(|reading| number(reading.value.as_str().unwrap())).collect()
}

fn wait_until_delivered(gateway: &Gateway) {
    wait_until("everything to be delivered", || gateway.status()["store"]["pending"]["sim"] == 0);
}

#[test]
fn drop_oldest_accepts_everything_and_counts_what_is_dropped() {
    const READINGS: usize = 150;
    let broker = Recorder::start();
    broker.down();
    let mut gateway =
        Gateway::start(&config(&broker, "quota = \"1MiB\"\nwhen_full = \"drop_oldest\""));
    let mut client = connect(&gateway);
    for number in 0..READINGS {
        assert_eq!(client.ask(&text(number, 20_000)).unwrap(), "ok");
    }
    let dropped = gateway.count("/store/dropped/sim/full");
    assert!(dropped > 50, "3 MB do not fit into 1 MiB: {dropped}");
    assert_eq!(gateway.count("/store/pending/sim") + dropped, READINGS as u64);
    // The count is kept together with what it counts.
    gateway.kill();
    gateway.launch();
    gateway.wait_until_up();
    assert_eq!(gateway.count("/store/dropped/sim/full"), dropped);
    broker.up();
    wait_until_delivered(&gateway);
    assert_eq!(arrived(&broker), (usize::try_from(dropped).unwrap()..READINGS).collect::<Vec<_>>());
}

#[test]
fn block_makes_devices_wait_and_goes_on_when_a_broker_takes_readings() {
    // More than the store, the queues and the sockets hold.
    const READINGS: usize = 2000;
    let broker = Recorder::start();
    broker.down();
    let gateway = Gateway::start(&config(&broker, "quota = \"1MiB\"\nwhen_full = \"block\""));
    let node = Node::new(gateway.address("nodes"));
    let address = gateway.address("lines");
    let all_sent = AtomicBool::new(false);
    thread::scope(|scope| {
        let (to_write, to_read) = (address, &all_sent);
        let mut client = LineClient::connect(to_write).unwrap();
        let mut writer = client.writer();
        scope.spawn(move || {
            for number in 0..READINGS {
                writer.send(format!("{}\n", text(number, 10_000)).as_bytes()).unwrap();
            }
            to_read.store(true, Ordering::Release);
        });
        wait_until("the store to be full", || gateway.status()["store"]["blocked"] == true);
        node.send(&request(1, b"t", "r/coap/v", None, b"1"));
        assert_eq!(node.receive(PATIENCE).unwrap(), [0x60, 0, 0, 1], "an empty ACK, no response");
        assert!(!all_sent.load(Ordering::Acquire), "the client feels it");
        assert_eq!(gateway.count("/store/full"), 0, "nothing is refused");
        // It reads meanwhile, and tells where it stands.
        broker.up();
        for number in 0..READINGS {
            assert_eq!(client.reply().unwrap(), "ok", "{number}");
        }
    });
    let response = node.receive(PATIENCE).expect("the response");
    assert_eq!(response[1], 0x44, "2.04");
    wait_until_delivered(&gateway);
    assert_eq!(arrived(&broker), (0..READINGS).collect::<Vec<_>>());
    assert_eq!(gateway.status()["store"]["blocked"], false);
}

#[test]
fn a_stop_while_devices_wait_refuses_and_loses_nothing() {
    const READINGS: usize = 100;
    let broker = Recorder::start();
    broker.down();
    let config = config(&broker, "quota = \"1MiB\"\nwhen_full = \"block\"");
    let mut gateway = Gateway::start(&format!("gateway.drain = \"0s\"\n{config}"));
    let mut client = connect(&gateway);
    let lines: String = (0..READINGS).map(|number| text(number, 20_000) + "\n").collect();
    client.send(lines.as_bytes()).unwrap();
    wait_until("the store to be full", || gateway.status()["store"]["blocked"] == true);
    assert!(gateway.terminate().success());
    let mut accepted = Vec::new();
    let mut refused = 0;
    for number in 0..READINGS {
        match client.reply() {
            Ok(reply) if reply == "ok" => accepted.push(number),
            Ok(reply) => {
                assert_eq!(reply, "error: the store is full");
                refused += 1;
            }
            Err(_) => break,
        }
    }
    assert!(!accepted.is_empty() && refused > 0, "{accepted:?}, {refused} refused");
    broker.up();
    gateway.launch();
    gateway.wait_until_up();
    wait_until_delivered(&gateway);
    assert_eq!(arrived(&broker), accepted);
}

#[test]
fn a_full_disk_refuses_delivers_and_recovers_and_loses_nothing() {
    let broker = Recorder::start();
    broker.down();
    let mut gateway = Gateway::new(&config(&broker, "quota = \"64MiB\"\nmin_free = 0"));
    let Some(disk) = SmallDisk::mount(gateway.dir().join("state"), 16) else { return };
    gateway.launch();
    gateway.wait_until_up();
    assert_eq!(gateway.status()["store"]["disk"]["reserve"], true);
    let mut client = connect(&gateway);
    let mut accepted = BTreeSet::new();
    let mut ask = |number: usize| {
        let reply = client.ask(&text(number, 20_000)).unwrap();
        assert!(["ok", "error: the store is full"].contains(&reply.as_str()), "{reply}");
        if reply == "ok" {
            accepted.insert(number);
        }
        reply == "ok"
    };
    for number in 0..100 {
        assert!(ask(number));
    }
    let filler = disk.fill();
    wait_until("a reading to be refused", {
        let mut number = 100;
        move || {
            number += 1;
            !ask(number)
        }
    });
    // The disk is as full as before, but what is delivered makes room in the file.
    broker.up();
    wait_until_delivered(&gateway);
    let mut client = connect(&gateway);
    let mut number = 10_000;
    wait_until("a reading to be accepted", || {
        number += 1;
        let is_accepted = client.ask(&text(number, 20_000)).unwrap() == "ok";
        if is_accepted {
            accepted.insert(number);
        }
        is_accepted
    });
    gateway.kill();
    gateway.launch();
    gateway.wait_until_up();
    wait_until_delivered(&gateway);
    fs::remove_file(filler).unwrap();
    wait_until("the reserve to be made again", || {
        gateway.status()["store"]["disk"]["reserve"] == true
    });
    let mut client = connect(&gateway);
    for number in 20_000..20_200 {
        assert_eq!(client.ask(&text(number, 20_000)).unwrap(), "ok");
        accepted.insert(number);
    }
    wait_until_delivered(&gateway);
    assert_eq!(arrived(&broker).into_iter().collect::<BTreeSet<_>>(), accepted);
}

#[test]
fn so_much_of_the_disk_stays_free() {
    const MIN_FREE: u64 = 8 << 20;
    /// What is written between two looks, and what the write-ahead log grows by.
    const TOLERANCE: u64 = 4 << 20;
    let broker = Recorder::start();
    broker.down();
    let mut gateway = Gateway::new(&config(&broker, "quota = \"64MiB\"\nmin_free = \"8MiB\""));
    let Some(disk) = SmallDisk::mount(gateway.dir().join("state"), 24) else { return };
    gateway.launch();
    gateway.wait_until_up();
    let mut client = connect(&gateway);
    let mut number = 0;
    wait_until("a reading to be refused", || {
        number += 1;
        client.ask(&text(number, 20_000)).unwrap() != "ok"
    });
    assert!(disk.free() < MIN_FREE && disk.free() > MIN_FREE - TOLERANCE, "{}", disk.free());
    let status = gateway.status();
    assert_eq!(status["store"]["disk"]["may_grow"], false);
    assert_eq!(status["store"]["disk"]["reserve"], true);
    broker.up();
    wait_until_delivered(&gateway);
    assert_eq!(arrived(&broker), (1..number).collect::<Vec<_>>());
}
