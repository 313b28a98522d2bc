//! Topics in virtual time.

use super::*;

const START: Instant = Instant::from_micros(1_000_000);

fn message(payload: &str) -> TopicMessage {
    TopicMessage { payload: Bytes::copy_from_slice(payload.as_bytes()), content_type: None }
}

fn known(topics: &Topics, topic: &str) -> Option<Bytes> {
    let TopicState::Known(message) = topics.state(topic, START) else { return None };
    Some(message.payload.clone())
}

/// Topics at a broker that is there.
fn connected() -> Topics {
    let mut topics = Topics::new();
    topics.handle_connected(START);
    topics
}

fn subscribed(topics: &mut Topics) -> Vec<Arc<str>> {
    std::iter::from_fn(|| topics.poll_subscribe()).collect()
}

fn unsubscribed(topics: &mut Topics) -> Vec<Arc<str>> {
    std::iter::from_fn(|| topics.poll_unsubscribe()).collect()
}

#[test]
fn all_who_watch_share_one_subscription_which_lingers() {
    let mut topics = connected();
    assert_eq!(topics.watch("t", START), Ok(true));
    for _ in 0..999 {
        assert_eq!(topics.watch("t", START), Ok(false));
    }
    assert_eq!(subscribed(&mut topics), ["t".into()]);
    for _ in 0..1000 {
        assert_eq!(topics.deadline(), None);
        topics.unwatch("t", START);
    }
    assert_eq!(topics.counts(), TopicCounts { topics: 1, watchers: 0, bytes: 0 });
    assert_eq!(topics.deadline(), Some(START + LINGER));
    topics.handle_timeout(START + (LINGER - Duration::from_micros(1)));
    assert!(unsubscribed(&mut topics).is_empty());
    topics.handle_timeout(START + LINGER);
    assert_eq!(unsubscribed(&mut topics), ["t".into()]);
    assert_eq!(topics.counts(), TopicCounts::default());
    assert_eq!(topics.deadline(), None);
}

#[test]
fn a_topic_that_is_watched_again_in_time_stays() {
    let mut topics = connected();
    topics.watch("t", START).unwrap();
    subscribed(&mut topics);
    topics.unwatch("t", START);
    assert_eq!(topics.watch("t", START + Duration::from_secs(9)), Ok(false));
    topics.handle_timeout(START + LINGER * 2);
    assert!(unsubscribed(&mut topics).is_empty());
    // One that has left and comes back before that was said is not ended by it.
    topics.unwatch("t", START);
    topics.handle_timeout(START + LINGER);
    assert_eq!(topics.watch("t", START + LINGER), Ok(true));
    assert!(unsubscribed(&mut topics).is_empty());
    assert_eq!(subscribed(&mut topics), ["t".into()]);
}

#[test]
fn that_there_is_nothing_is_known_a_moment_after_the_subscription() {
    let mut topics = Topics::new();
    topics.watch("t", START).unwrap();
    assert_eq!(topics.state("t", START), TopicState::Waiting(START + SUBSCRIBE_WAIT));
    assert_eq!(topics.state("t", START + SUBSCRIBE_WAIT), TopicState::Unreachable);
    topics.handle_connected(START);
    assert_eq!(topics.state("t", START), TopicState::Waiting(START + SUBSCRIBE_WAIT));
    topics.handle_granted("t", START);
    assert_eq!(topics.state("t", START), TopicState::Waiting(START + RETAINED_WAIT));
    assert_eq!(topics.state("t", START + RETAINED_WAIT), TopicState::Nothing);
    topics.handle_message("t", message("1"), false);
    assert_eq!(known(&topics, "t").unwrap(), "1");
}

#[test]
fn a_state_outlives_an_outage_and_everything_is_subscribed_after_it() {
    let mut topics = connected();
    for topic in ["a", "b"] {
        topics.watch(topic, START).unwrap();
    }
    subscribed(&mut topics);
    topics.handle_message("a", message("1"), true);
    topics.unwatch("b", START);
    topics.handle_end();
    assert_eq!(known(&topics, "a").unwrap(), "1");
    assert_eq!(topics.state("b", START), TopicState::Unreachable);
    topics.watch("c", START).unwrap();
    assert_eq!(topics.state("c", START), TopicState::Unreachable);
    assert!(subscribed(&mut topics).is_empty());
    // What nobody watches goes meanwhile, without a word to a broker that is not there.
    topics.handle_timeout(START + LINGER);
    topics.handle_connected(START + LINGER);
    assert!(unsubscribed(&mut topics).is_empty());
    let mut again = subscribed(&mut topics);
    again.sort_unstable();
    assert_eq!(again, ["a".into(), "c".into()]);
    assert_eq!(known(&topics, "a").unwrap(), "1");
}

#[test]
fn only_what_is_new_is_a_change() {
    let mut topics = connected();
    topics.watch("a", START).unwrap();
    topics.watch("b", START).unwrap();
    let mut seen = 0;
    let mut changed = |topics: &Topics| {
        let mut changed = Vec::new();
        seen = topics.since(seen, |topic| changed.push(topic.to_owned()));
        changed
    };
    topics.handle_message("a", message("1"), true);
    topics.handle_message("b", message("1"), false);
    topics.handle_message("a", message("2"), false);
    topics.handle_message("unknown", message("1"), false);
    assert_eq!(changed(&topics), ["b", "a"]);
    topics.handle_message("a", message("2"), true);
    assert!(changed(&topics).is_empty(), "the broker says again what it keeps");
    topics.handle_message("a", message("2"), false);
    assert_eq!(changed(&topics), ["a"], "somebody says the same again");
    topics.handle_oversize("b");
    assert_eq!(changed(&topics), ["b"]);
    assert_eq!(topics.state("b", START), TopicState::TooLarge);
}

#[test]
fn a_refused_topic_is_asked_for_again_later() {
    let mut topics = connected();
    topics.watch("t", START).unwrap();
    subscribed(&mut topics);
    let refusal = Refusal { is_forbidden: true, detail: "no".to_owned() };
    topics.handle_refused("t", refusal.clone(), START);
    assert_eq!(topics.state("t", START), TopicState::Refused(Arc::new(refusal)));
    assert_eq!(topics.deadline(), Some(START + REFUSED_WAIT));
    topics.handle_timeout(START + (REFUSED_WAIT - Duration::from_micros(1)));
    assert!(subscribed(&mut topics).is_empty());
    topics.handle_timeout(START + REFUSED_WAIT);
    assert_eq!(subscribed(&mut topics), ["t".into()]);
    topics.handle_granted("t", START + REFUSED_WAIT);
    assert!(matches!(topics.state("t", START + REFUSED_WAIT), TopicState::Waiting(_)));
}

#[test]
fn the_limits_hold_whoever_watches_what() {
    let mut topics = connected();
    for i in 0..MAX_TOPICS {
        topics.watch(&i.to_string(), START).unwrap();
    }
    assert_eq!(topics.watch("one more", START), Err(TooManyTopics));
    assert_eq!(topics.watch("7", START), Ok(false));
    topics.unwatch("8", START + Duration::from_secs(1));
    topics.unwatch("9", START);
    topics.watch("one more", START).unwrap();
    assert_eq!(unsubscribed(&mut topics), ["9".into()], "nobody watches it for the longest time");
    // A client that asks for one topic after the other waits for the broker in the end.
    let mut waits = 0;
    for i in 0..3 * MAX_LEAVING {
        topics.unwatch(if i == 0 { "one more" } else { "x" }, START);
        waits += usize::from(topics.watch(&format!("x{i}"), START).is_err());
        topics.unwatch(&format!("x{i}"), START);
    }
    assert!(waits > 0 && topics.leaving.len() <= MAX_LEAVING);
    assert!(topics.entries.len() <= MAX_TOPICS);
}

#[test]
fn states_that_find_no_room_are_too_large() {
    let mut topics = connected();
    let half = "x".repeat(MAX_BYTES / 2);
    for topic in ["a", "b", "c"] {
        topics.watch(topic, START).unwrap();
    }
    assert!(topics.handle_message("a", message(&half), false));
    assert!(topics.handle_message("b", message(&half), false));
    assert!(!topics.handle_message("c", message("1"), false));
    assert_eq!(topics.state("c", START), TopicState::TooLarge);
    assert!(topics.handle_message("b", message("small"), false));
    assert!(topics.handle_message("c", message("1"), false));
    assert_eq!(topics.counts().bytes, MAX_BYTES / 2 + 6);
    for topic in ["a", "b", "c"] {
        topics.unwatch(topic, START);
    }
    topics.handle_timeout(START + LINGER);
    assert_eq!(topics.counts(), TopicCounts::default());
    assert!(topics.changes.is_empty());
}
