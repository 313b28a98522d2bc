//! The disk gives back something else than was written.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fleet::wait_until_delivered;
use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::sim::{Reading, Recorder};

const PAGE: usize = 4096;

/// A gateway with a TCP source and these brokers, which are down.
pub(crate) fn gateway(brokers: &[(&str, &Recorder)]) -> Gateway {
    let mut config = String::from(
        "gateway.drain = \"0s\"\n[sources.lines]\n\
         link = { type = \"tcp\", bind = \"127.0.0.1:0\", reply = true }\n\
         decode = { type = \"senml\" }\n[routes.all]\n",
    );
    for (name, broker) in brokers {
        broker.down();
        let url = broker.url();
        config += &format!("[brokers.{name}]\nurl = \"{url}\"\nmax_backoff = \"1s\"\n");
    }
    Gateway::start(&config)
}

/// Hands in readings one after the other, each a commit of its own; their values are `text-n`.
pub(crate) fn store(gateway: &Gateway, text: &str, numbers: std::ops::RangeInclusive<u64>) {
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    for n in numbers {
        let line = format!("[{{\"bn\":\"d/\",\"n\":\"v\",\"vs\":\"{text}-{n}\"}}]");
        assert_eq!(client.ask(&line).unwrap(), "ok");
    }
}

pub(crate) fn spool(gateway: &Gateway) -> PathBuf {
    gateway.dir().join("state/spool.db")
}

/// Changes one character of a text in a file.
pub(crate) fn falsify(path: &Path, text: &str) {
    let mut bytes = fs::read(path).unwrap();
    let mut places = bytes.windows(text.len()).enumerate();
    let at = places.find(|(_, window)| *window == text.as_bytes()).expect("the text").0;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn overwrite(path: &Path, from: usize, to: usize) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; to - from], from as u64).unwrap();
}

/// Names in the state directory that begin so.
fn names(gateway: &Gateway, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(gateway.dir().join("state")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(prefix)).collect()
}

fn errors(gateway: &Gateway, part: &str) -> Vec<Value> {
    let is_it = |entry: &Value| {
        entry["level"] == "ERROR"
            && entry["fields"]["message"].as_str().is_some_and(|message| message.contains(part))
    };
    gateway.log_entries().into_iter().filter(is_it).collect()
}

/// What arrived, without repetitions, as number and value.
fn arrived(broker: &Recorder) -> Vec<(u64, String)> {
    let pair = |reading: &Reading| (reading.n, reading.value.as_str().unwrap().to_owned());
    let mut readings: Vec<_> = broker.readings().iter().map(pair).collect();
    readings.sort();
    readings.dedup();
    readings
}

fn expected(numbers: std::ops::RangeInclusive<u64>) -> Vec<(u64, String)> {
    numbers.map(|n| (n, format!("value-{n}"))).collect()
}

#[test]
fn a_damaged_chunk_is_skipped_by_every_broker_counted_once_and_kept() {
    let [first, second] = [Recorder::start(), Recorder::start()];
    let mut gateway = gateway(&[("first", &first), ("second", &second)]);
    store(&gateway, "value", 1..=30);
    gateway.terminate();
    falsify(&spool(&gateway), "value-17");
    for start in 1..=2 {
        gateway.launch();
        gateway.wait_until_up();
        if start == 1 {
            first.up();
            second.up();
        }
        let is_delivered = |name: &str| gateway.count(&format!("/store/pending/{name}")) == 0;
        wait_until("everything to be delivered", || {
            is_delivered("first") && is_delivered("second")
        });
        if start == 1 {
            assert_eq!(gateway.count("/store/damaged"), 1, "once, not once for each broker");
            assert_eq!(gateway.count("/store/damaged_numbers"), 1);
            let [error] = &errors(&gateway, "a part of the store is damaged")[..] else {
                panic!("told once")
            };
            let fields = &error["fields"];
            assert_eq!((&fields["first"], &fields["last"]), (&17.into(), &17.into()), "{error}");
            let copy = fields["copy"].as_str().unwrap();
            let copy = fs::read(copy).unwrap_or_else(|error| panic!("{copy}: {error}"));
            assert!(copy.windows(8).any(|window| window == b"walue-17"), "its bytes as they are");
        }
        gateway.terminate();
    }
    let mut others = expected(1..=30);
    others.remove(16);
    assert_eq!(arrived(&first), others);
    assert_eq!(arrived(&second), others);
}

#[test]
fn a_store_without_its_first_page_is_set_aside_and_everything_is_delivered() {
    let broker = Recorder::start();
    let mut gateway = gateway(&[("sim", &broker)]);
    store(&gateway, "value", 1..=50);
    gateway.terminate();
    overwrite(&spool(&gateway), 0, PAGE);
    let damaged = fs::read(spool(&gateway)).unwrap();
    gateway.launch();
    gateway.wait_until_up();
    broker.up();
    wait_until_delivered(&gateway);
    assert_eq!(arrived(&broker), expected(1..=50));

    let [name] = &names(&gateway, "spool.db.damaged-")[..] else { panic!("one file") };
    let file = gateway.dir().join("state").join(name);
    assert!(fs::read(&file).unwrap() == damaged, "it is as it was");
    let [error] = &errors(&gateway, "set aside as")[..] else { panic!("told once") };
    assert_eq!(error["fields"]["file"], file.display().to_string(), "{error}");
    assert_eq!((&error["fields"]["records"], &error["fields"]["lost"]), (&50.into(), &0.into()));
    let message = error["fields"]["message"].as_str().unwrap();
    assert!(message.contains("gateway store export"), "{message}");
    // Nobody knows whether there was a newer one, so its number is not used.
    store(&gateway, "value", 51..=51);
    wait_until_delivered(&gateway);
    let (n, value) = arrived(&broker).pop().unwrap();
    assert!(n > 51 && value == "value-51", "{n} {value}");
}

#[test]
fn a_store_that_is_gone_uses_no_number_again() {
    let broker = Recorder::start();
    let mut gateway = gateway(&[("sim", &broker)]);
    store(&gateway, "value", 1..=5);
    gateway.terminate();
    fs::remove_file(spool(&gateway)).unwrap();
    gateway.launch();
    gateway.wait_until_up();
    assert_eq!(errors(&gateway, "the store is gone").len(), 1);
    broker.up();
    store(&gateway, "value", 6..=6);
    wait_until_delivered(&gateway);
    let [(n, value)] = &arrived(&broker)[..] else { panic!("one reading") };
    assert!(*n > 6 && value == "value-6", "{n} {value}");
    // It goes on from there, also after a restart.
    gateway.terminate();
    gateway.launch();
    gateway.wait_until_up();
    assert_eq!(gateway.count("/store/next"), n + 1);
}

#[test]
fn a_store_destroyed_while_it_is_used_is_repaired_while_it_is_used() {
    const READINGS: u64 = 9000;
    let broker = Recorder::start();
    let gateway = gateway(&[("sim", &broker)]);
    // More than SQLite and the gateway keep in memory, so that it has to be read again.
    let long = "x".repeat(1000);
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    for n in (1..=READINGS).step_by(50) {
        let line = |n| format!("[{{\"bn\":\"d/\",\"n\":\"v\",\"vs\":\"{long}-{n}\"}}]\n");
        client.send((n..n + 50).map(line).collect::<String>().as_bytes()).unwrap();
        (0..50).for_each(|_| assert_eq!(client.reply().unwrap(), "ok"));
    }
    overwrite(&spool(&gateway), PAGE, 16 * PAGE);
    broker.up();
    wait_until("the damage to be found", || !names(&gateway, "spool.db.damaged-").is_empty());
    assert_eq!(client.ask("[{\"bn\":\"d/\",\"n\":\"v\",\"vs\":\"new\"}]").unwrap(), "ok");
    wait_until_delivered(&gateway);
    let arrived = arrived(&broker);
    assert_eq!(arrived.last().map(|(_, value)| value.as_str()), Some("new"));
    let readings = &arrived[..arrived.len() - 1];
    assert!(readings.iter().all(|(n, value)| value.ends_with(&format!("x-{n}"))), "none is wrong");
    assert!(readings.len() as u64 > READINGS * 9 / 10, "{} of {READINGS}", readings.len());
}
