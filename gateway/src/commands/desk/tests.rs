//! Commands in virtual time.

mod fleet;

use super::super::command::Priority;
use serde_json::json;

use super::super::request::{Given, Submitted};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn wall(ms: u64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000 + i64::try_from(ms).unwrap() * 1_000_000)
}

fn rules() -> DeskRules {
    let operations = r#"
        [valve]
        source = "nodes"
        devices = ["valve-*", "pump"]
        value = { type = "number", min = 0, max = 100 }
        via = { type = "coap", path = "/valve" }
        writable = true
        [restart]
        source = "nodes"
        devices = ["*"]
        via = { type = "coap", method = "post", path = "/restart" }
        min_interval = "5s"
        from = ["cloud"]
    "#;
    let operations: BTreeMap<Id, Operation> = toml::from_str(operations).unwrap();
    let groups = r#"
        [north]
        devices = ["valve-n*"]
        [registered]
        registered = { et = "val*" }
    "#;
    DeskRules {
        gateway: "gw".parse().unwrap(),
        topics: CommandTopics::new(&"site".parse().unwrap(), &"gw".parse().unwrap()),
        commands: toml::from_str("from = [\"cloud\", \"local\"]\nqueue = 3").unwrap(),
        operations: operations.into_iter().map(|(id, it)| (id, Arc::new(it))).collect(),
        groups: toml::from_str(groups).unwrap(),
    }
}

fn asker() -> Asker {
    Asker { broker: Some("cloud".parse().unwrap()), reply_to: None }
}

fn submitted(device: &str, operation: &str, id: &str, value: &str) -> Submitted {
    let value = match value {
        "" => Given::Json(None),
        value => Given::Plain(value.as_bytes().to_vec()),
    };
    Submitted {
        device: device.to_owned(),
        operation: operation.to_owned(),
        id: Some(id.to_owned()),
        value,
        within: None,
        priority: Priority::Normal,
        is_set: false,
    }
}

/// A desk, and what is on disk and published of it.
struct Bench {
    desk: Desk,
    disk: BTreeMap<Key, Command>,
    orders: Vec<Draft>,
    withdrawn: Vec<Key>,
    /// Device, identifier and state.
    published: Vec<String>,
    told: Vec<String>,
    now: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            desk: Desk::new(rules()),
            disk: BTreeMap::new(),
            orders: Vec::new(),
            withdrawn: Vec::new(),
            published: Vec::new(),
            told: Vec::new(),
            now: 0,
        }
    }

    fn settle(&mut self) {
        loop {
            for command in self.desk.take_changes() {
                self.disk.insert(command.key.clone(), command);
            }
            let Some(effect) = self.desk.poll_effect() else { break };
            match effect {
                Effect::Order(draft) => self.orders.push(draft),
                Effect::Withdraw(key) => self.withdrawn.push(key),
                Effect::Publish { key, step, messages } => {
                    self.published.extend(messages.iter().map(summary));
                    self.desk.handle_published(at(self.now), &key, step, true);
                }
                Effect::Tell(messages) => self.told.extend(messages.iter().map(summary)),
                Effect::Reached(..) => {}
            }
        }
    }

    fn submit(&mut self, device: &str, operation: &str, id: &str, value: &str) {
        self.submit_as(asker(), &submitted(device, operation, id, value));
    }

    fn submit_as(&mut self, asker: Asker, request: &Submitted) {
        let key = Key::new(&request.device, request.id.as_deref().unwrap());
        let known = self.disk.get(&key).filter(|_| !self.desk.knows(&key)).cloned();
        let roster = || Roster {
            devices: BTreeMap::from([(
                "nodes".parse().unwrap(),
                ["valve-n1", "valve-n2", "valve-s1", "other"].map(str::to_owned).into(),
            )]),
            attributes: BTreeMap::from([(
                "valve-s1".to_owned(),
                BTreeMap::from([("et".to_owned(), "valve".to_owned())]),
            )]),
        };
        self.desk.handle_submitted(at(self.now), wall(self.now), asker, request, known, roster);
        self.settle();
    }

    fn report(&mut self, device: &str, id: &str, report: Report) -> bool {
        let key = Key::new(device, id);
        let attempt = self.orders.iter().rev().find(|order| order.key == key).unwrap().attempt;
        let (now, wall) = (at(self.now), wall(self.now));
        let stands = self.desk.handle_report(now, wall, &key, attempt, report);
        self.settle();
        stands
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + u64::try_from(span.as_millis()).unwrap();
        while let Some(due) = self.desk.deadline().filter(|due| *due <= at(end)) {
            self.now = self.now.max(due.as_micros() / 1000);
            self.desk.handle_timeout(at(self.now), wall(self.now));
            self.settle();
        }
        self.now = end;
    }

    /// The process ends, and another one begins.
    fn kill(&mut self) {
        self.desk = Desk::new(rules());
        self.orders.clear();
        let left: Vec<Command> = self.disk.values().cloned().collect();
        self.desk.restore(at(self.now), wall(self.now), left);
        self.settle();
    }

    fn ordered(&self) -> Vec<String> {
        self.orders.iter().map(|it| format!("{} {}", it.key.device, it.key.id)).collect()
    }

    fn states(&self, device: &str, id: &str) -> Vec<String> {
        let start = format!("{device} {id} ");
        self.published.iter().filter_map(|it| it.strip_prefix(&start)).map(str::to_owned).collect()
    }
}

fn summary(message: &Message) -> String {
    let json: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    let text = |name: &str| json[name].as_str().unwrap_or("-").to_owned();
    match json["error"]["code"].as_str() {
        Some(code) => format!("{} {} {} {code}", text("device"), text("id"), text("state")),
        None => format!("{} {} {}", text("device"), text("id"), text("state")),
    }
}

fn unreachable() -> Report {
    Report::Unreachable(Failure::new("no_answer", "nothing came"))
}

#[test]
fn a_command_goes_through_its_states() {
    let mut bench = Bench::new();
    bench.submit("valve-1", "valve", "42", "40");
    assert_eq!(bench.ordered(), ["valve-1 42"]);
    assert!(bench.report("valve-1", "42", Report::Begin));
    assert!(bench.disk[&Key::new("valve-1", "42")].is_begun);
    assert!(bench.report("valve-1", "42", Report::Delivered));
    assert!(bench.report("valve-1", "42", Report::Done(Some(json!("ok")))));
    assert_eq!(bench.states("valve-1", "42"), ["accepted", "delivered", "done"]);
    assert_eq!(bench.desk.open(), 0, "nothing is left in memory");
    assert_eq!(bench.desk.deadline(), None);
}

#[test]
fn a_request_that_comes_again_is_answered_and_not_carried_out_again() {
    let mut bench = Bench::new();
    bench.submit("valve-1", "valve", "42", "40");
    bench.submit("valve-1", "valve", "42", "40");
    assert_eq!(bench.told, ["valve-1 42 accepted"]);
    bench.report("valve-1", "42", Report::Done(None));
    bench.submit("valve-1", "valve", "42", "40.0");
    assert_eq!(bench.told, ["valve-1 42 accepted", "valve-1 42 done"]);
    bench.kill();
    bench.submit("valve-1", "valve", "42", "40");
    assert_eq!(bench.told.last().unwrap(), "valve-1 42 done");
    assert!(bench.orders.is_empty());
    bench.submit("valve-1", "valve", "42", "41");
    assert_eq!(bench.told.last().unwrap(), "valve-1 42 - id_in_use");
}

#[test]
fn what_is_not_allowed_is_refused_and_nothing_is_sent() {
    let mut bench = Bench::new();
    bench.submit("valve-1", "valve", "1", "101");
    bench.submit("other", "valve", "2", "1");
    bench.submit("valve-1", "close", "3", "");
    let mut set = submitted("x", "restart", "4", "");
    set.is_set = true;
    bench.submit_as(asker(), &set);
    let local = Asker { broker: Some("local".parse().unwrap()), reply_to: None };
    bench.submit_as(local, &submitted("x", "restart", "5", ""));
    let mut long = submitted("valve-1", "valve", "6", "1");
    long.within = Some(SECOND * 3600 * 24 * 8);
    bench.submit_as(asker(), &long);
    assert_eq!(
        bench.published,
        [
            "valve-1 1 failed value",
            "other 2 failed not_allowed",
            "valve-1 3 failed unknown_operation",
            "x 4 failed not_writable",
            "x 5 failed not_allowed",
            "valve-1 6 failed deadline_too_long",
        ]
    );
    assert!(bench.orders.is_empty());
    assert_eq!(bench.disk.len(), 6, "the refusals are in the journal");
}

#[test]
fn one_goes_at_a_time_to_a_device_and_the_queue_has_an_end() {
    let mut bench = Bench::new();
    for id in ["1", "2", "3", "4", "5"] {
        bench.submit("valve-1", "valve", id, "1");
    }
    bench.submit("valve-2", "valve", "1", "1");
    assert_eq!(bench.ordered(), ["valve-1 1", "valve-2 1"]);
    assert_eq!(bench.states("valve-1", "2"), ["accepted", "queued behind"]);
    assert_eq!(bench.states("valve-1", "5"), ["failed queue_full"]);
    bench.report("valve-1", "1", Report::Done(None));
    assert_eq!(bench.ordered().last().unwrap(), "valve-1 2");
}

#[test]
fn a_device_that_is_not_reached_is_tried_until_the_deadline() {
    let mut bench = Bench::new();
    bench.submit("valve-1", "valve", "1", "1");
    while bench.desk.open() > 0 {
        let open = bench.desk.active.values().any(|active| active.ordered.is_some());
        if open {
            assert!(bench.report("valve-1", "1", Report::Begin));
            bench.report("valve-1", "1", unreachable());
        }
        bench.pass(SECOND / 2);
    }
    assert_eq!(bench.now / 1000, 60);
    assert_eq!(bench.orders.len(), 6, "after 1, 2, 4, 8, 16 s, and 30 s are too long");
    let states = bench.states("valve-1", "1");
    assert_eq!(states, ["accepted", "queued no_answer", "expired deadline"]);
}

#[test]
fn what_may_not_be_repeated_is_sent_once() {
    let mut bench = Bench::new();
    bench.submit("x", "restart", "1", "");
    bench.report("x", "1", unreachable());
    bench.pass(SECOND);
    assert_eq!(bench.orders.len(), 2, "nothing was sent, so it is tried again");
    assert!(bench.report("x", "1", Report::Begin));
    bench.report("x", "1", unreachable());
    assert_eq!(bench.states("x", "1").last().unwrap(), "failed unknown_outcome");
    bench.submit("x", "restart", "2", "");
    bench.pass(SECOND * 4);
    assert_eq!(bench.orders.len(), 2, "the pause between two is kept");
    bench.pass(SECOND);
    assert_eq!(bench.orders.len(), 3);
}

#[test]
fn what_a_device_has_put_off_is_sent_again_when_it_says_so_and_can_be_cancelled_before() {
    let mut bench = Bench::new();
    bench.submit("x", "restart", "1", "");
    let put_off = || Report::Later(Failure::new("5.03", "busy"), 7 * SECOND);
    assert!(bench.report("x", "1", Report::Begin));
    assert!(bench.report("x", "1", put_off()));
    bench.pass(6 * SECOND);
    assert_eq!(bench.orders.len(), 1, "it wants 7 s");
    bench.pass(SECOND);
    assert_eq!(bench.orders.len(), 2, "the device has not done it");
    assert!(bench.report("x", "1", Report::Begin));
    assert!(bench.report("x", "1", put_off()));
    let (now, wall) = (at(bench.now), wall(bench.now));
    bench.desk.handle_cancel(now, wall, &asker(), &Key::new("x", "1"), None);
    bench.settle();
    assert_eq!(bench.states("x", "1").last().unwrap(), "failed cancelled");
}

#[test]
fn a_cancelled_command_is_withdrawn_unless_it_was_sent() {
    let mut bench = Bench::new();
    bench.submit("valve-1", "valve", "1", "1");
    bench.submit("valve-1", "valve", "2", "2");
    for id in ["1", "2", "9"] {
        let key = Key::new("valve-1", id);
        bench.desk.handle_cancel(at(0), wall(0), &asker(), &key, None);
        bench.settle();
    }
    assert_eq!(bench.withdrawn, [Key::new("valve-1", "1"), Key::new("valve-1", "2")]);
    assert!(!bench.report("valve-1", "1", Report::Begin), "it must not be sent any more");
    assert_eq!(bench.states("valve-1", "2").last().unwrap(), "failed cancelled");
    assert_eq!(bench.told, ["valve-1 9 - unknown"]);
    bench.submit("valve-1", "valve", "3", "1");
    assert!(bench.report("valve-1", "3", Report::Begin));
    bench.desk.handle_cancel(at(0), wall(0), &asker(), &Key::new("valve-1", "3"), None);
    bench.settle();
    assert_eq!(bench.told.last().unwrap(), "valve-1 3 - too_late");
}

#[test]
fn a_group_has_an_outcome_of_each_and_of_all() {
    let mut bench = Bench::new();
    bench.submit("north", "valve", "1", "1");
    assert_eq!(bench.ordered(), ["valve-n1 1", "valve-n2 1"]);
    bench.report("valve-n1", "1", Report::Done(None));
    assert_eq!(bench.states("north", "1"), ["accepted"]);
    bench.report("valve-n2", "1", Report::Failed(Failure::new("4.04", "not found")));
    assert_eq!(bench.states("valve-n2", "1").last().unwrap(), "failed 4.04");
    assert_eq!(bench.states("north", "1").last().unwrap(), "failed partly");
    bench.submit("valve-?1", "valve", "2", "1");
    assert_eq!(bench.ordered()[2..], ["valve-n1 2", "valve-s1 2"]);
    bench.submit("registered", "valve", "3", "1");
    assert_eq!(bench.states("valve-s1", "3"), ["accepted", "queued behind"]);
    bench.submit("x*", "valve", "4", "1");
    assert_eq!(bench.states("x*", "4"), ["failed no_device"]);
}

#[test]
fn after_a_kill_nothing_is_done_twice_that_may_not_be() {
    let mut bench = Bench::new();
    bench.submit("valve-1", "valve", "1", "1");
    bench.submit("valve-2", "valve", "1", "1");
    bench.submit("a", "restart", "1", "");
    bench.submit("b", "restart", "1", "");
    bench.submit("north", "valve", "7", "1");
    for (device, id) in [("valve-2", "1"), ("b", "1")] {
        assert!(bench.report(device, id, Report::Begin));
    }
    bench.report("valve-n1", "7", Report::Done(None));
    bench.kill();
    let mut ordered = bench.ordered();
    ordered.sort();
    assert_eq!(ordered, ["a 1", "valve-1 1", "valve-2 1", "valve-n2 7"]);
    assert_eq!(bench.states("b", "1"), ["accepted", "failed unknown_outcome"]);
    bench.report("valve-n2", "7", Report::Done(None));
    assert_eq!(bench.states("north", "7"), ["accepted", "done"]);
    bench.now += 61_000;
    bench.kill();
    bench.pass(SECOND);
    assert_eq!(bench.states("a", "1").last().unwrap(), "expired deadline");
}

#[test]
fn what_an_order_was_begun_as_comes_with_it_again() {
    let mut bench = Bench::new();
    bench.submit("valve-1", "valve", "1", "1");
    assert_eq!(bench.orders[0].mark, None);
    assert!(bench.report("valve-1", "1", Report::BeginAs("3 17".to_owned())));
    bench.report("valve-1", "1", unreachable());
    bench.pass(SECOND);
    assert_eq!(bench.orders[1].mark.as_deref(), Some("3 17"));
    bench.kill();
    assert_eq!(bench.orders[0].mark.as_deref(), Some("3 17"));
}

#[test]
fn a_state_that_cannot_be_stored_is_published_later() {
    let mut bench = Bench::new();
    let request = submitted("valve-1", "valve", "1", "1");
    bench.desk.handle_submitted(at(0), wall(0), asker(), &request, None, Roster::default);
    let mut publishes = 0;
    while let Some(effect) = bench.desk.poll_effect() {
        if let Effect::Publish { key, step, .. } = effect {
            publishes += 1;
            bench.desk.handle_published(at(0), &key, step, false);
        }
    }
    assert_eq!(publishes, 1);
    bench.pass(SECOND);
    assert_eq!(bench.states("valve-1", "1"), ["accepted"]);
}

#[test]
fn an_earlier_process_publishes_what_its_predecessor_could_not() {
    let mut bench = Bench::new();
    let request = submitted("valve-1", "valve", "1", "101");
    bench.desk.handle_submitted(at(0), wall(0), asker(), &request, None, Roster::default);
    for command in bench.desk.take_changes() {
        bench.disk.insert(command.key.clone(), command);
    }
    bench.kill();
    assert_eq!(bench.states("valve-1", "1"), ["failed value"]);
    bench.kill();
    assert_eq!(bench.states("valve-1", "1").len(), 1);
}
