//! A cluster of brokers, of which one node dies.

use std::collections::BTreeSet;

use crate::config;
use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::nats::Cluster;
use crate::traffic::traffic;

#[test]
fn the_death_of_the_node_that_it_is_connected_to_loses_nothing_acknowledged() {
    let mut cluster = Cluster::start();
    let urls = cluster.urls();
    // The node of the subscriber lives on.
    let subscriber = cluster.subscribe(2, "r/#");
    let broker =
        format!("[brokers.b]\nurl = [\"{}\", \"{}\"]\nmax_backoff = \"1s\"\n", urls[0], urls[1]);
    let gateway = Gateway::start(&config(&broker));
    let connected_to = || gateway.status()["brokers"]["b"]["url"].clone();
    let acknowledged = || gateway.count("/brokers/b/acknowledged");
    let readings = traffic(&gateway, || {
        wait_until("a hundred acknowledged", || acknowledged() >= 100);
        assert_eq!(connected_to(), urls[0]);
        cluster.kill(0);
        wait_until("the other node", || connected_to() == urls[1].as_str());
        let before = acknowledged();
        wait_until("a hundred more", || acknowledged() >= before + 100);
    });
    wait_until("the cluster to have everything", || gateway.count("/store/pending/b") == 0);
    let values = || -> BTreeSet<u64> {
        subscriber.at("r/d/v").iter().map(|m| m.text().parse().unwrap()).collect()
    };
    wait_until("every reading at the subscriber", || values().len() as u64 == readings);
    assert_eq!(values(), (0..readings).collect());
}
