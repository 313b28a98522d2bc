//! A cluster of brokers, of which one node dies.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::nats::Cluster;

/// Ends the device also when the test panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_death_of_the_node_that_it_is_connected_to_loses_nothing_acknowledged() {
    let mut cluster = Cluster::start();
    let urls = cluster.urls();
    // The node of the subscriber lives on.
    let subscriber = cluster.subscribe(2, "th-1/#");
    let gateway = Gateway::start(&format!(
        r#"
[sources.lines]
link = {{ type = "tcp", bind = "127.0.0.1:0", reply = true }}
decode = {{ type = "senml" }}
[brokers.cluster]
url = ["{}", "{}"]
max_backoff = "1s"
[routes.all]
topic = "{{device}}/{{name}}"
payload = "value"
"#,
        urls[0], urls[1]
    ));
    let connected_to = || gateway.status()["brokers"]["cluster"]["url"].clone();
    gateway.wait_for_count("/brokers/cluster/connections", 1);
    assert_eq!(connected_to(), urls[0]);

    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let more = |count: u64| {
        let goal = acknowledged.load(Ordering::Relaxed) + count;
        wait_until("more acknowledgements", || acknowledged.load(Ordering::Relaxed) >= goal);
    };
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let value = acknowledged.load(Ordering::Relaxed);
                let line = format!(r#"[{{"bn":"th-1/","n":"count","v":{value}}}]"#);
                assert_eq!(client.ask(&line).unwrap(), "ok");
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _stop = StopOnDrop(&stop);
        more(500);
        gateway.wait_for_count("/brokers/cluster/acknowledged", 100);
        cluster.kill(0);
        wait_until("the other node", || connected_to() == urls[1].as_str());
        more(500);
    });
    let acknowledged = acknowledged.into_inner();
    wait_until("the broker to have everything", || gateway.count("/store/pending/cluster") == 0);
    let values = || -> BTreeSet<u64> {
        subscriber.at("th-1/count").iter().map(|m| m.text().parse().unwrap()).collect()
    };
    wait_until("every reading at the subscriber", || values().len() as u64 == acknowledged);
    assert_eq!(values(), (0..acknowledged).collect());
}
