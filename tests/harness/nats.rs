//! Three nodes of `nats-server` from Debian with JetStream and an MQTT listener: a clustered broker
//! that acknowledges a message when a majority of its nodes has it.

use std::fs;
use std::process::Stdio;

use super::clock::wait_for;
use super::mosquitto::{READY, Subscriber};
use super::process::{Lines, Running, program};
use super::temp::{TempDir, port};

const NODES: usize = 3;

/// The cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Running>,
    ports: Vec<u16>,
    log: Lines,
    _dir: TempDir,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new();
        let log = Lines::default();
        let ports: Vec<u16> = (0..NODES).map(|_| port()).collect();
        let cluster: Vec<u16> = (0..NODES).map(|_| port()).collect();
        let routes: Vec<String> =
            cluster.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let nodes = (0..NODES)
            .map(|node| {
                let config = dir.join(&format!("node{node}.conf"));
                let text = format!(
                    "server_name: node{node}\nlisten: \"127.0.0.1:{}\"\n\
                     jetstream {{ store_dir: \"{}\" }}\n\
                     cluster {{ name: test, listen: \"127.0.0.1:{}\", routes: [{}] }}\n\
                     mqtt {{ listen: \"127.0.0.1:{}\" }}\n",
                    port(),
                    dir.join(&format!("node{node}")).display(),
                    cluster[node],
                    routes.join(", "),
                    ports[node],
                );
                fs::write(&config, text).unwrap();
                let mut command = program("nats-server", "nats-server");
                Running::start_reading(command.arg("-c").arg(config), &log)
            })
            .collect();
        let mut cluster = Self { nodes, ports, log, _dir: dir };
        // The first client makes the cluster create what it needs; that takes an elected leader.
        wait_for("the cluster to take a message", || {
            let running = cluster.nodes.iter_mut().all(Running::is_running);
            assert!(running, "a node has ended: {}", cluster.log.text());
            cluster.publish_ready().then_some(())
        });
        cluster
    }

    fn publish_ready(&self) -> bool {
        let mut command = program("mosquitto_pub", "mosquitto-clients");
        command.args(self.client(0)).args(["-q", "1", "-r", "-t", READY, "-m", "1"]);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().unwrap().success()
    }

    fn client(&self, node: usize) -> [String; 4] {
        ["-h", "127.0.0.1", "-p", &self.ports[node].to_string()].map(str::to_owned)
    }

    /// Where each node takes MQTT.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("mqtt://127.0.0.1:{port}")).collect()
    }

    /// SIGKILL for one node.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// A subscriber at one node.
    pub(crate) fn subscribe(&self, node: usize, filter: &str) -> Subscriber {
        Subscriber::start(&self.client(node), filter, &["-q", "1"])
    }
}
