//! Store, delivery and session against a model broker: the store is the real one, time is not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::{Reading, Rng};
use tokio::sync::oneshot;

use super::*;
use crate::broker::session::tests::model::ModelBroker;
use crate::broker::{Resent, What};
use crate::config::Config;
use crate::store::tests::{Folder, record};
use crate::store::{Batch, Content, Lane as StoreLane, Limits, Policy, WhenFull};

const START: Timestamp = Timestamp::from_nanos(1_795_214_340_000_000_000);

/// One broker, and a store with a real disk below.
struct Site {
    delivery: Delivery,
    broker: ModelBroker,
    spool: Spool,
    now: Instant,
    _folder: Folder,
}

impl Site {
    /// A site with these keys in the table of the broker and in that of the route, which publishes
    /// the value alone.
    fn new(broker: &str, route: &str) -> Self {
        let topic = if route.contains("topic") { "" } else { "topic = \"{device}\"," };
        let config: Config = toml::from_str(&format!(
            "brokers.b = {{ url = \"mqtt://b\", {broker} }}\n\
             routes.r = {{ payload = \"value\", {topic} {route} }}\n"
        ))
        .unwrap();
        let (name, broker) = config.brokers.first_key_value().unwrap();
        let routes = Arc::new(Routes::new(&config));
        let ordered = StoreLane::only(name.as_str(), Limits::default());
        let live = StoreLane { key: live_key(name.as_str()), ..ordered.clone() };
        let windows = StoreLane { key: windows_key(name.as_str()), ..ordered.clone() };
        let mut lanes = vec![ordered];
        lanes.extend(routes.live_first(name.as_str()).map(|_| live));
        lanes.extend(routes.windows(name.as_str()).map(|_| windows));
        let folder = Folder::new();
        let when_full = WhenFull::DropNewest;
        let policy = Policy { quota: 1 << 30, min_free: 0, when_full, keep: Duration::ZERO };
        let (spool, _) = Spool::open(folder.0.clone(), policy, &lanes).unwrap();
        let status = Arc::new(BrokerStatus::new(broker.url.clone()));
        let topic = "status".to_owned();
        let gateway = "gw".parse().unwrap();
        let shared = spool.clone();
        let delivery = Delivery::new(name, broker, &gateway, topic, shared, &routes, status);
        let broker = ModelBroker::with_stale_session(broker.protocol);
        let now = Instant::from_micros(1_000_000);
        Self { delivery: delivery.unwrap(), broker, spool, now, _folder: folder }
    }

    fn wall(&self) -> Timestamp {
        let nanos = i64::try_from(self.now.as_micros()).unwrap() * 1000;
        START.checked_add_nanos(nanos).unwrap()
    }

    /// Stores one reading of each of some devices, with this value.
    async fn store(&self, devices: u64, values: impl IntoIterator<Item = u64>) {
        let mut batch = Batch::default();
        for value in values {
            for device in 0..devices {
                let mut record = record(&format!("d{device}"), value);
                record.received = self.wall();
                let reading = record.reading().unwrap().clone();
                record.content = Content::Reading(Reading { time: self.wall(), ..reading });
                batch.push(record);
            }
        }
        let (receipt, stored) = oneshot::channel();
        self.spool.append(batch, receipt, self.wall()).await;
        stored.await.unwrap().unwrap();
    }

    async fn connect(&mut self) {
        self.broker.connect();
        self.delivery.handle_connected(self.now).unwrap();
    }

    async fn cut(&mut self) {
        self.broker.cut();
        self.delivery.handle_end(self.now, self.wall()).await.unwrap();
    }

    /// A turn at both ends; false if nothing moved.
    async fn exchange(&mut self) -> bool {
        self.delivery.turn(self.now, self.wall()).await.unwrap();
        let bytes = self.delivery.outgoing().split();
        self.broker.handle_bytes(&bytes);
        let mut moved = !bytes.is_empty();
        while let Some(answer) = self.broker.answer(0) {
            self.delivery.handle_bytes(self.now, &answer).unwrap();
            moved = true;
        }
        moved
    }

    /// Goes on until nothing moves any more, with time passing where it is waited for; a broker that
    /// cuts the connection is connected to again.
    async fn settle(&mut self) {
        loop {
            if !self.broker.is_connected() {
                self.cut().await;
                self.connect().await;
            }
            if self.exchange().await {
                continue;
            }
            // What is acknowledged but not saved holds publishes back.
            self.spool.dead(0, 1).await.unwrap();
            let rate = self.delivery.rate.ready_at();
            if self.delivery.is_done() && self.delivery.again.is_idle() {
                return;
            }
            self.now = rate.max(self.now + Duration::from_millis(1));
        }
    }

    /// Values that arrived, by topic, in order.
    fn arrived(&self) -> BTreeMap<String, Vec<u64>> {
        let mut arrived = BTreeMap::<_, Vec<_>>::new();
        for publish in self.broker.delivered.iter().filter(|p| p.topic != "status") {
            arrived
                .entry(publish.topic.clone())
                .or_default()
                .push(publish.payload.parse().unwrap());
        }
        arrived
    }
}

#[tokio::test]
async fn a_day_of_outage_is_delivered_in_the_order_of_each_device() {
    const DEVICES: u64 = 20;
    const MINUTES: u64 = 24 * 60;
    let mut site = Site::new("window = 1000", "");
    let mut rng = Rng::new(24);
    for minute in 0..MINUTES {
        site.now = site.now + Duration::from_secs(60);
        // Now and then it looks as if the broker were there.
        if rng.below(30) == 0 {
            site.connect().await;
            if rng.below(2) == 0 {
                let _ = site.exchange().await;
            }
            site.cut().await;
        }
        site.store(DEVICES, [minute]).await;
    }
    let began = site.now;
    site.connect().await;
    site.settle().await;
    assert!(site.now - began < Duration::from_secs(60), "as fast as the broker takes it");
    let arrived = site.arrived();
    assert_eq!(arrived.len() as u64, DEVICES);
    for (device, values) in arrived {
        let mut first_copies = Vec::new();
        let mut seen = BTreeSet::new();
        first_copies.extend(values.iter().copied().filter(|value| seen.insert(*value)));
        assert_eq!(first_copies, (0..MINUTES).collect::<Vec<_>>(), "{device}");
    }
}

#[tokio::test]
async fn windows_are_published_whole_over_cuts_and_hold_nothing_else_back() {
    const DEVICES: u64 = 30;
    const SECONDS: u64 = 150;
    let mut site = Site::new(
        "window = 10",
        "aggregate = { window = \"1m\", of = [\"count\", \"sum\"] }, topic = \"{device}/{name}\"",
    );
    site.connect().await;
    for second in 0..SECONDS {
        site.store(DEVICES, [second]).await;
        site.settle().await;
        if second % 20 == 7 {
            site.exchange().await;
            site.cut().await;
        }
        site.now = site.now + Duration::from_secs(1);
    }
    assert!(site.delivery.is_done(), "open windows do not hold back the end of a gateway");
    assert!(site.delivery.windows.as_ref().unwrap().cursor.next() < DEVICES * SECONDS);
    site.now = site.now + Duration::from_secs(120);
    while site.delivery.windows.as_ref().unwrap().cursor.next() <= DEVICES * SECONDS {
        site.exchange().await;
        // What is acknowledged but not saved holds publishes back.
        site.spool.dead(0, 1).await.unwrap();
    }
    for device in 0..DEVICES {
        let all = |statistic: &str| -> u64 {
            site.arrived()[&format!("d{device}/value.{statistic}")].iter().sum()
        };
        assert_eq!((all("count"), all("sum")), (SECONDS, (0..SECONDS).sum()), "d{device}");
    }
}

#[tokio::test]
async fn new_readings_go_before_those_that_waited_where_the_route_says_so() {
    let mut site = Site::new("window = 4", "live_first = true");
    site.store(1, 0..50).await;
    site.connect().await;
    while site.broker.delivered.len() < 10 {
        site.exchange().await;
        site.spool.dead(0, 1).await.unwrap();
    }
    site.store(1, 50..60).await;
    site.settle().await;
    let values = site.arrived().remove("d0").unwrap();
    let old: Vec<_> = values.iter().copied().filter(|value| *value < 50).collect();
    let new: Vec<_> = values.iter().copied().filter(|value| *value >= 50).collect();
    assert_eq!((old, new), ((0..50).collect(), (50..60).collect()), "each in order, and once");
    let last_new = values.iter().position(|value| *value == 59).unwrap();
    assert!(last_new < 30, "the new ones did not wait: {values:?}");
}

#[tokio::test]
async fn several_outages_leave_several_gaps_and_all_are_filled() {
    let mut rng = Rng::new(7);
    for seed in 0..40 {
        let mut site = Site::new("window = 5", "live_first = true");
        let mut value = 0;
        for _ in 0..12 {
            let more = 1 + rng.below(30);
            site.store(1, value..value + more).await;
            value += more;
            site.connect().await;
            for _ in 0..rng.below(6) {
                site.exchange().await;
                site.spool.dead(0, 1).await.unwrap();
            }
            site.cut().await;
        }
        site.connect().await;
        site.settle().await;
        let values: BTreeSet<_> =
            site.arrived().remove("d0").unwrap_or_default().into_iter().collect();
        assert_eq!(values, (0..value).collect(), "seed {seed}");
    }
}

#[tokio::test]
async fn a_rate_is_kept_while_a_backlog_drains() {
    let mut site = Site::new("max_rate = 100", "");
    site.store(1, 0..1000).await;
    let began = site.now;
    site.connect().await;
    site.settle().await;
    let took = site.now - began;
    let range = Duration::from_millis(9_500)..Duration::from_millis(10_500);
    assert!(range.contains(&took), "{took:?}");
    assert_eq!(site.arrived()["d0"], (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reading_that_ends_connections_becomes_a_dead_letter_and_the_others_go_on() {
    let mut site = Site::new("", "");
    site.broker.poison = Some("13".to_owned());
    site.store(1, 0..200).await;
    site.connect().await;
    site.settle().await;
    let arrived: BTreeSet<u64> = site.arrived()["d0"].iter().copied().collect();
    assert_eq!(arrived, (0..200).filter(|value| *value != 13).collect());
    let letters = site.spool.dead(0, 10).await.unwrap().letters;
    let told: Vec<_> = letters.iter().map(|l| (&*l.reason, &*l.topic, l.record.n)).collect();
    assert_eq!(told, [("ends_connections", "d0", 14)]);
}

#[tokio::test]
async fn connections_that_are_not_accepted_make_no_reading_suspect() {
    let mut site = Site::new("window = 1", "");
    site.store(1, 0..4).await;
    site.connect().await;
    site.exchange().await;
    // One is under way when the broker goes, and then nobody answers for a while.
    site.delivery.turn(site.now, site.wall()).await.unwrap();
    assert!(!site.delivery.quarantine.has_room());
    site.cut().await;
    for _ in 0..50 {
        site.delivery.handle_connected(site.now).unwrap();
        site.cut().await;
    }
    site.connect().await;
    site.settle().await;
    assert_eq!(site.spool.dead(0, 10).await.unwrap().letters, []);
    let arrived: BTreeSet<u64> = site.arrived()["d0"].iter().copied().collect();
    assert_eq!(arrived, (0..4).collect());
}

#[tokio::test]
async fn what_the_broker_refuses_is_a_dead_letter_and_can_be_sent_again() {
    const NOT_AUTHORIZED: u8 = 0x87;
    let mut site = Site::new(r#"protocol = "5""#, "");
    site.broker.refused = Some(("3".to_owned(), NOT_AUTHORIZED));
    site.store(1, 0..6).await;
    site.connect().await;
    site.settle().await;
    assert_eq!(site.arrived()["d0"], [0, 1, 2, 4, 5]);
    let letters = site.spool.dead(0, 10).await.unwrap().letters;
    assert_eq!((letters.len(), letters[0].record.n), (1, 4));

    let records = || letters.iter().map(|letter| letter.record.clone()).collect();
    let refused_again = site.resend(What::Records(records())).await;
    assert_eq!(refused_again, Resent { refused: BTreeSet::from([4]), ..Resent::default() });
    site.broker.refused = None;
    let resent = site.resend(What::Records(records())).await;
    assert_eq!(resent, Resent { acknowledged: 1, ..Resent::default() });
    assert_eq!(site.arrived()["d0"], [0, 1, 2, 4, 5, 3]);
}

#[tokio::test]
async fn a_time_range_is_sent_again_over_a_cut() {
    let mut site = Site::new("window = 3", "");
    site.store(1, 0..20).await;
    site.now = site.now + Duration::from_secs(60);
    let from = site.wall();
    site.store(1, 20..40).await;
    let to = from.checked_add_nanos(1).unwrap();
    site.now = site.now + Duration::from_secs(60);
    site.store(1, 40..60).await;
    site.connect().await;
    site.settle().await;
    site.broker.delivered.clear();

    let (done, mut outcome) = oneshot::channel();
    let what = What::Range { numbers: 1..61, received: from..to };
    site.delivery.resend(Resend { what, done });
    for _ in 0..3 {
        site.exchange().await;
    }
    site.cut().await;
    site.connect().await;
    site.settle().await;
    let resent = outcome.try_recv().unwrap();
    assert_eq!(resent, Resent { acknowledged: 20, ..Resent::default() });
    let arrived: BTreeSet<u64> = site.arrived()["d0"].iter().copied().collect();
    assert_eq!(arrived, (20..40).collect());
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_ends() {
    let mut site = Site::new("window = 3", "");
    site.store(1, 0..50).await;
    site.connect().await;
    site.settle().await;
    site.broker.delivered.clear();
    let (done, outcome) = oneshot::channel();
    let received = Timestamp::from_nanos(0)..Timestamp::from_nanos(i64::MAX);
    site.delivery.resend(Resend { what: What::Range { numbers: 1..51, received }, done });
    site.exchange().await;
    drop(outcome);
    site.settle().await;
    assert!(site.broker.delivered.len() < 10, "{}", site.broker.delivered.len());
}

impl Site {
    async fn resend(&mut self, what: What) -> Resent {
        let (done, mut outcome) = oneshot::channel();
        self.delivery.resend(Resend { what, done });
        self.settle().await;
        outcome.try_recv().unwrap()
    }
}
