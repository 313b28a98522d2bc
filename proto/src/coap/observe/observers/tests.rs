use alloc::vec::Vec;

use super::*;
use crate::Rng;
use crate::coap::Code;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const RESOURCE: ResourceId = ResourceId(1);

/// Observers and the messages that were sent to them.
struct Bench {
    observers: Observers<u16>,
    now: Instant,
    key: Key,
    next_id: u16,
}

impl Bench {
    fn new() -> Self {
        Self::with(ObserveConfig::default())
    }

    fn with(config: ObserveConfig) -> Self {
        let (key, now) = (Arena::new().insert(()), Instant::ZERO);
        Self { observers: Observers::new(config), now, key, next_id: 0 }
    }

    fn register(&mut self, peer: u16, token: &[u8], confirmable: bool) -> Option<u32> {
        self.register_at(RESOURCE, peer, token, confirmable)
    }

    fn register_at(
        &mut self,
        resource: ResourceId,
        peer: u16,
        token: &[u8],
        confirmable: bool,
    ) -> Option<u32> {
        let registration = Registration {
            peer,
            token: Token::new(token).unwrap(),
            resource,
            confirmable,
            is_trusted: true,
            mark: 7,
            block_size: BlockSize::MAX,
        };
        let registered = self.observers.register(self.now, registration, &content("first"));
        registered.map(SequenceNumber::value)
    }

    /// Sends what is due.
    fn send(&mut self) -> Vec<(Due<u16>, NotificationId)> {
        let mut sent = Vec::new();
        while let Some(due) = self.observers.poll_due() {
            self.next_id = self.next_id.wrapping_add(1);
            let id = NotificationId { peer: self.key, message_id: self.next_id };
            self.observers.handle_sent(&due, Some(id));
            sent.push((due, id));
        }
        sent
    }

    fn notify(&mut self, payload: &str) -> Vec<(Due<u16>, NotificationId)> {
        self.observers.notify(RESOURCE, content(payload));
        self.send()
    }

    fn deliver(&mut self, id: NotificationId) -> Vec<(Due<u16>, NotificationId)> {
        self.observers.handle_delivered(self.now, id);
        self.send()
    }
}

fn content(payload: &str) -> Response {
    Response::new(Code::CONTENT).payload(payload)
}

fn payloads(sent: &[(Due<u16>, NotificationId)]) -> Vec<(u16, &str)> {
    sent.iter().map(|(due, _)| (due.to, str::from_utf8(&due.response.payload).unwrap())).collect()
}

fn number(due: &Due<u16>) -> u32 {
    SequenceNumber::of(&due.response.options).unwrap().value()
}

#[test]
fn a_change_goes_to_all_observers_of_the_resource_and_to_nobody_else() {
    // RFC 7641 §4.2
    let mut bench = Bench::new();
    let first = bench.register(1, b"a", true).unwrap();
    bench.register(1, b"b", false);
    bench.register(2, b"a", true);
    bench.register_at(ResourceId(2), 3, b"a", true);
    let sent = bench.notify("new");
    assert_eq!(payloads(&sent), [(1, "new"), (1, "new"), (2, "new")]);
    let confirmable: Vec<_> = sent.iter().map(|(due, _)| due.confirmable).collect();
    assert_eq!(confirmable, [true, false, true]);
    // RFC 7641 §4.4: strictly increasing.
    assert!(number(&sent[0].0) > first);
}

#[test]
fn the_same_token_replaces_and_another_one_adds() {
    // RFC 7641 §4.1
    let mut bench = Bench::new();
    bench.register(1, b"a", true);
    bench.register(1, b"a", true);
    assert_eq!(bench.observers.len(), 1);
    bench.register_at(ResourceId(2), 1, b"a", true);
    assert_eq!((bench.observers.len(), bench.notify("new").len()), (1, 0));
    assert_eq!(bench.observers.poll_unobserved(), Some(RESOURCE));
    bench.register(1, b"b", true);
    assert_eq!(bench.observers.len(), 2);
}

#[test]
fn deregistering_ends_one_observation() {
    // RFC 7641 §4.1
    let mut bench = Bench::new();
    bench.register(1, b"a", true);
    bench.register(1, b"b", true);
    let identity = (1, Token::new(b"a").unwrap());
    assert!(bench.observers.deregister(identity) && !bench.observers.deregister(identity));
    assert_eq!(bench.notify("new").len(), 1);
}

#[test]
fn one_confirmable_notification_is_under_way_and_then_comes_the_latest_state() {
    // RFC 7641 §4.5.1, §4.5.2
    let mut bench = Bench::new();
    bench.register(1, b"a", true);
    let sent = bench.notify("1");
    assert!(bench.notify("2").is_empty() && bench.notify("3").is_empty());
    let next = bench.deliver(sent[0].1);
    assert_eq!(payloads(&next), [(1, "3")]);
    assert!(number(&next[0].0) > number(&sent[0].0));
    assert!(bench.deliver(next[0].1).is_empty());
    assert_eq!(payloads(&bench.notify("4")), [(1, "4")]);
}

#[test]
fn a_peer_with_several_observations_gets_one_confirmable_notification_at_a_time() {
    // RFC 7641 §4.5.1: NSTART.
    let mut bench = Bench::new();
    for token in [b"a", b"b", b"c"] {
        bench.register(1, token, true);
    }
    bench.register(2, b"a", true);
    let mut sent = bench.notify("1");
    assert_eq!(payloads(&sent), [(1, "1"), (2, "1")]);
    bench.observers.notify(RESOURCE, content("2"));
    assert!(bench.send().is_empty());
    // The two that wait come first, with the latest state, then the one that got an earlier one.
    let mut told = Vec::new();
    while let Some((due, id)) = sent.pop() {
        if due.to == 1 {
            told.push(due.token);
        }
        sent.extend(bench.deliver(id));
    }
    assert_eq!(told.iter().map(|token| token[0]).collect::<Vec<_>>(), *b"abca");
}

#[test]
fn non_confirmable_notifications_do_not_wait_and_supersede_each_other() {
    // RFC 7641 §4.5
    let mut bench = Bench::new();
    bench.register(1, b"a", false);
    let first = bench.notify("1");
    let second = bench.notify("2");
    assert!(!second[0].0.confirmable);
    assert_eq!(bench.observers.poll_forgotten(), Some(first[0].1));
    // A Reset of the newest still ends it.
    bench.observers.handle_undelivered(second[0].1);
    assert!(bench.observers.is_empty());
}

#[test]
fn a_lost_notification_ends_the_observation_and_lets_the_next_one_go() {
    // RFC 7641 §4.5: Reset or timeout.
    let mut bench = Bench::new();
    bench.register(1, b"a", true);
    bench.register(1, b"b", true);
    let sent = bench.notify("1");
    bench.observers.handle_undelivered(sent[0].1);
    assert_eq!(bench.observers.len(), 1);
    assert_eq!(payloads(&bench.send()), [(1, "1")]);
}

#[test]
fn an_error_is_confirmable_has_no_number_and_ends_everything() {
    // RFC 7641 §4.2: "the server MUST remove the associated entry"
    let mut bench = Bench::new();
    bench.register(1, b"a", false);
    bench.register(2, b"a", true);
    bench.observers.notify(RESOURCE, Response::new(Code::NOT_FOUND));
    let sent = bench.send();
    for (due, id) in &sent {
        assert!(due.confirmable);
        assert_eq!(SequenceNumber::of(&due.response.options), None);
        bench.observers.handle_delivered(bench.now, *id);
    }
    assert_eq!((sent.len(), bench.observers.len()), (2, 0));
    assert_eq!(bench.observers.poll_unobserved(), Some(RESOURCE));
    assert_eq!(bench.observers.poll_unobserved(), None);
}

#[test]
fn who_was_told_an_error_is_gone_even_if_the_resource_is_back() {
    let mut bench = Bench::new();
    bench.register(1, b"a", true);
    bench.observers.notify(RESOURCE, Response::new(Code::NOT_FOUND));
    let sent = bench.send();
    assert!(bench.notify("back").is_empty());
    assert!(bench.deliver(sent[0].1).is_empty() && bench.observers.is_empty());
}

#[test]
fn an_observer_is_asked_for_a_sign_of_life_every_24_hours() {
    // RFC 7641 §4.5
    let mut bench = Bench::new();
    bench.register(1, b"a", false);
    assert_eq!(bench.observers.next_at(), Some(Instant::ZERO + DAY));
    bench.now = Instant::ZERO + (DAY - SECOND);
    bench.observers.handle_timeout(bench.now);
    assert!(bench.send().is_empty() && !bench.notify("1")[0].0.confirmable);
    bench.now = Instant::ZERO + DAY;
    bench.observers.handle_timeout(bench.now);
    let sent = bench.send();
    assert!(sent[0].0.confirmable);
    bench.deliver(sent[0].1);
    assert!(!bench.notify("2")[0].0.confirmable);
    assert_eq!(bench.observers.next_at(), Some(bench.now + DAY));
}

#[test]
fn an_untrusted_observer_has_to_acknowledge_the_first_notification() {
    // RFC 7641 §7
    let mut bench = Bench::new();
    let registration = Registration {
        peer: 1,
        token: Token::EMPTY,
        resource: RESOURCE,
        confirmable: false,
        is_trusted: false,
        mark: 0,
        block_size: BlockSize::MIN,
    };
    bench.observers.register(bench.now, registration, &content("0"));
    let sent = bench.notify("1");
    assert!(sent[0].0.confirmable && bench.notify("2").is_empty());
    let next = bench.deliver(sent[0].1);
    assert!(!next[0].0.confirmable);
}

#[test]
fn registrations_over_a_limit_are_refused() {
    let limits = ObserveConfig { max_observers: 3, max_per_peer: 2, ..Default::default() };
    let mut bench = Bench::with(limits);
    assert!(bench.register(1, b"a", true).is_some() && bench.register(1, b"b", true).is_some());
    assert_eq!(bench.register(1, b"c", true), None);
    assert!(bench.register(1, b"b", true).is_some(), "the same token replaces");
    assert!(bench.register(2, b"a", true).is_some());
    assert_eq!(bench.register(3, b"a", true), None);
    assert_eq!(bench.observers.len(), 3);
}

#[test]
fn a_notification_that_cannot_be_sent_ends_the_observation() {
    let mut bench = Bench::new();
    bench.register(1, b"a", true);
    bench.observers.notify(RESOURCE, content("1"));
    let due = bench.observers.poll_due().unwrap();
    bench.observers.handle_sent(&due, None);
    assert!(bench.observers.is_empty() && bench.observers.peers.is_empty());
}

/// Whatever happens in whatever order, the tables agree, everybody who is left gets the last
/// state, and nothing is left when all are gone.
#[test]
fn everybody_who_stays_gets_the_last_state() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let limits = ObserveConfig { max_per_peer: 5, ..Default::default() };
        let mut bench = Bench::with(limits);
        let mut under_way = Vec::new();
        let mut told = BTreeMap::new();
        let mut note = |sent: Vec<(Due<u16>, NotificationId)>, under_way: &mut Vec<_>| {
            for (due, id) in sent {
                told.insert((due.to, due.token), due.response.payload.clone());
                if due.confirmable {
                    under_way.push((due, id));
                }
            }
        };
        for step in 0..400_u32 {
            let peer = u16::try_from(rng.below(6)).unwrap();
            let token = [u8::try_from(rng.below(4)).unwrap()];
            match rng.below(8) {
                0 | 1 => drop(bench.register(peer, &token, rng.chance(0.7))),
                2 => drop(bench.observers.deregister((peer, Token::new(&token).unwrap()))),
                3 | 4 => {
                    bench.observers.notify(RESOURCE, content(&alloc::format!("{step}")));
                    let sent = bench.send();
                    note(sent, &mut under_way);
                }
                _ if under_way.is_empty() => {}
                5 if rng.chance(0.3) => {
                    let (_, id) = under_way.swap_remove(0);
                    bench.observers.handle_undelivered(id);
                    let sent = bench.send();
                    note(sent, &mut under_way);
                }
                _ => {
                    let at = usize::try_from(rng.below(under_way.len() as u64)).unwrap();
                    let (_, id) = under_way.swap_remove(at);
                    let sent = bench.deliver(id);
                    note(sent, &mut under_way);
                }
            }
        }
        bench.observers.notify(RESOURCE, content("last"));
        let sent = bench.send();
        note(sent, &mut under_way);
        while let Some((_, id)) = under_way.pop() {
            let sent = bench.deliver(id);
            note(sent, &mut under_way);
        }
        let identities: Vec<_> = bench.observers.by_identity.keys().copied().collect();
        for identity in &identities {
            assert_eq!(told[identity], b"last", "seed {seed}");
        }
        for identity in identities {
            bench.observers.deregister(identity);
        }
        let observers = &bench.observers;
        assert!(observers.is_empty() && observers.peers.is_empty(), "seed {seed}");
        assert!(observers.resources.is_empty() && observers.by_notification.is_empty());
        assert_eq!((observers.ready.first(), observers.by_age.first()), (None, None));
    }
}

/// Not a check: prints what a change costs with 10,000 observers. Run with
/// `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
#[expect(clippy::disallowed_methods, reason = "a measurement needs the real clock")]
fn notification_cost() {
    extern crate std;
    let mut bench = Bench::new();
    for peer in 0..10_000 {
        bench.register(peer, b"a", false);
    }
    let start = std::time::Instant::now();
    for _ in 0..100 {
        bench.observers.notify(RESOURCE, content("state"));
        assert_eq!(bench.send().len(), 10_000);
        while bench.observers.poll_forgotten().is_some() {}
    }
    std::println!("{:?} a notification", start.elapsed() / 1_000_000);
}
