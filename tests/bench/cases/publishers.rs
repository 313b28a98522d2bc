//! From a store, or from nothing, to the broker.

use super::{Case, FAR, FAST, Plan, TCP, WIDE, WINDOW, case};
use crate::far_end::FarEnd;
use crate::figure::Run;
use crate::gateway::Setup;
use crate::{Outcome, backlog, codec, mosquitto};

/// A case, and what it is held against.
pub(super) const RATIOS: &[(&str, &str)] = &[
    ("backlog-w100", "codec-w100"),
    ("backlog-w100", "codec-w5000"),
    ("backlog-w1000", "codec-w1000"),
    ("backlog-w1000", "codec-w5000"),
    ("mosquitto-backlog-w100", "mosquitto-codec-w100"),
    ("mosquitto-backlog-w100", "mosquitto-codec-w5000"),
    ("mosquitto-backlog-w1000", "mosquitto-codec-w1000"),
    ("mosquitto-backlog-w1000", "mosquitto-codec-w5000"),
    ("backlog-million", "codec-w100"),
];

const MILLION: u32 = 1_000_000;

/// Into the recording broker.
pub(super) fn publishers() -> Vec<Case> {
    vec![
        case(
            "backlog-w100",
            "300,000 readings in the store of a gateway that was killed → PUBACK, window 100",
            |plan| backlog::drain(plan, &plan.ledger(FAST), &Setup::new(TCP, WINDOW)),
        ),
        case("codec-w100", "as many publishes of the codec alone, window 100", |plan| {
            publish(plan, WINDOW)
        }),
        case("backlog-w1000", "the backlog with window 1000", |plan| {
            backlog::drain(plan, &plan.ledger(FAST), &Setup::new(TCP, FAR))
        }),
        case("codec-w1000", "the codec with window 1000", |plan| publish(plan, FAR)),
        case("codec-w5000", "the codec with window 5000: all that the broker takes", |plan| {
            publish(plan, WIDE)
        }),
        case("backlog-million", "1,000,000 readings in the store, window 100", |plan| {
            backlog::drain(plan, &plan.ledger(MILLION), &Setup::new(TCP, WINDOW))
        }),
    ]
}

/// The same with Mosquitto as the broker.
pub(super) fn mosquitto() -> Vec<Case> {
    let drain = |name, what, window| {
        let setup = Setup::new(TCP, window);
        let case = case(name, what, move |plan| mosquitto::drain(plan, FAST, &setup));
        Case { missing: Box::new(mosquitto::missing), ..case }
    };
    let publish = |name, what, window| {
        let case = case(name, what, move |plan| mosquitto::publish(plan, FAST, window));
        Case { missing: Box::new(mosquitto::missing), ..case }
    };
    vec![
        drain("mosquitto-backlog-w100", "the backlog into Mosquitto, window 100", WINDOW),
        publish("mosquitto-codec-w100", "the codec into Mosquitto, window 100", WINDOW),
        drain("mosquitto-backlog-w1000", "the backlog into Mosquitto, window 1000", FAR),
        publish("mosquitto-codec-w1000", "the codec into Mosquitto, window 1000", FAR),
        publish("mosquitto-codec-w5000", "the codec into Mosquitto, window 5000", WIDE),
    ]
}

fn publish(plan: &Plan, window: u16) -> Outcome<Run> {
    let ledger = plan.ledger(FAST);
    let far_end = FarEnd::start(&ledger)?;
    let cpu = codec::publish(&ledger, far_end.address(), window)?;
    ledger.settle();
    far_end.stop()?;
    Ok(ledger.run()?.with_cpu(ledger.arrived(), cpu))
}
