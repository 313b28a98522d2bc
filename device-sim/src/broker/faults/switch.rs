//! A switch of the broker's misbehaviour as one line of text: a name and its arguments.
//!
//! `device-sim broker` takes such lines with `--fault` and, while it runs, on its standard input.
//! [`SWITCHES`] is the whole language: the name, how it is used, what it does, and how its arguments
//! become a call of a method of [`Faults`].

mod words;

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;
use std::sync::Arc;

use self::words::{Words, error, number, qos, split};
use super::Faults;
use crate::broker::QoS;

/// What can be switched: usage, and what it does.
const SWITCHES: &[(&str, &str, Parse)] = &[
    ("clear", "behaves again: undoes every switch below", |_| act(Faults::clear)),
    ("turn-away on|off", "closes new connections at once", |words| {
        let on = words.on_off()?;
        act(move |faults| faults.turn_away(on))
    }),
    ("refuse REASON|off", "answers every CONNECT with that reason", |words| {
        let reason = words.optional(error)?;
        act(move |faults| faults.refuse(reason))
    }),
    ("silence on|off", "answers no CONNECT and leaves the connection open", |words| {
        let on = words.on_off()?;
        act(move |faults| faults.silence(on))
    }),
    ("drop-pubacks all|N|off", "swallows all PUBACKs, or every Nth", |words| {
        let which = words.which()?;
        act(move |faults| faults.drop_pubacks(which))
    }),
    ("delay-pubacks TIME|off", "sends PUBACKs so much later, for instance 200ms", |words| {
        let delay = words.delay()?;
        act(move |faults| faults.delay_pubacks(delay))
    }),
    ("reorder-pubacks N|off", "sends PUBACKs in groups of N, each backwards", |words| {
        let group = words.optional(number)?.unwrap_or(0);
        act(move |faults| faults.reorder_pubacks(group))
    }),
    ("duplicate-pubacks all|N|off", "sends PUBACKs twice", |words| {
        let which = words.which()?;
        act(move |faults| faults.duplicate_pubacks(which))
    }),
    (
        "stray-pubacks all|N|off",
        "sends, behind a PUBACK, one for an identifier that is not in use",
        |words| {
            let which = words.which()?;
            act(move |faults| faults.stray_pubacks(which))
        },
    ),
    ("drop-pubrecs all|N|off", "swallows PUBRECs (QoS 2)", |words| {
        let which = words.which()?;
        act(move |faults| faults.drop_pubrecs(which))
    }),
    ("delay-pubrecs TIME|off", "sends PUBRECs so much later", |words| {
        let delay = words.delay()?;
        act(move |faults| faults.delay_pubrecs(delay))
    }),
    ("drop-pubcomps all|N|off", "swallows PUBCOMPs (QoS 2)", |words| {
        let which = words.which()?;
        act(move |faults| faults.drop_pubcomps(which))
    }),
    ("delay-pubcomps TIME|off", "sends PUBCOMPs so much later", |words| {
        let delay = words.delay()?;
        act(move |faults| faults.delay_pubcomps(delay))
    }),
    (
        "reject REASON [WHICH]|off",
        "refuses messages with that reason in PUBACK or PUBREC, and does not take them",
        |words| {
            let reason = words.optional(error)?;
            let rejection = match reason {
                Some(reason) => Some((reason, words.matching()?)),
                None => None,
            };
            act(move |faults| faults.reject(rejection.clone()))
        },
    ),
    ("poison [WHICH]|off", "closes the connection on which such a message arrives", |words| {
        let matching = words.matching_or_off()?;
        act(move |faults| faults.poison(matching.clone()))
    }),
    ("lie [WHICH]|off", "acknowledges such a message and forgets it", |words| {
        let matching = words.matching_or_off()?;
        act(move |faults| faults.lie(matching.clone()))
    }),
    ("lose-sessions on|off", "has lost the session of every client that comes back", |words| {
        let on = words.on_off()?;
        act(move |faults| faults.lose_sessions(on))
    }),
    (
        "wrong-session-present on|off",
        "says the opposite of what is true in session present",
        |words| {
            let on = words.on_off()?;
            act(move |faults| faults.wrong_session_present(on))
        },
    ),
    ("stall on|off", "reads nothing and leaves the connections open", |words| {
        let on = words.on_off()?;
        act(move |faults| faults.stall_reading(on))
    }),
    (
        "cut packets=N|bytes=N|sent-bytes=N [once]|off",
        "cuts every connection there, or only the first to get there",
        |words| {
            let cut = words.cut()?;
            act(move |faults| match cut {
                Some((after, true)) => faults.cut_once(after),
                Some((after, false)) => faults.cut_each(after),
                None => faults.cut_none(),
            })
        },
    ),
    ("cut-all", "cuts the connections that are open, now", |_| act(Faults::cut_all)),
    (
        "disconnect REASON packets=N [once]|off",
        "ends every connection there with DISCONNECT, or only the first to get there",
        |words| {
            let reason = words.optional(error)?;
            let packets = match reason {
                Some(_) => words.named("packets", number)?,
                None => 0,
            };
            let once = words.flag("once");
            act(move |faults| match reason {
                Some(reason) if once => faults.disconnect_once(reason, packets),
                Some(reason) => faults.disconnect_each(reason, packets),
                None => faults.cut_none(),
            })
        },
    ),
    (
        "forget-everything",
        "loses every session and retained message and closes all connections, now",
        |_| act(Faults::forget_everything),
    ),
    ("receive-maximum N|off", "announces it to new clients of MQTT 5", |words| {
        let maximum = words.optional(number::<NonZero<u16>>)?;
        act(move |faults| faults.announce(|limits| limits.receive_maximum = maximum))
    }),
    ("maximum-packet-size N|off", "announces it in the same way", |words| {
        let maximum = words.optional(number::<NonZero<u32>>)?;
        act(move |faults| faults.announce(|limits| limits.maximum_packet_size = maximum))
    }),
    ("maximum-qos 0|1|off", "announces it in the same way", |words| {
        let maximum = words.optional(qos)?.unwrap_or(QoS::ExactlyOnce);
        act(move |faults| faults.announce(|limits| limits.maximum_qos = maximum))
    }),
    ("retain-available on|off", "announces it in the same way", |words| {
        let available = words.on_off()?;
        act(move |faults| faults.announce(|limits| limits.retain_available = available))
    }),
    ("topic-alias-maximum N|off", "announces it in the same way", |words| {
        let maximum = words.optional(number)?;
        act(move |faults| faults.announce(|limits| limits.topic_alias_maximum = maximum))
    }),
    ("server-keep-alive SECONDS|off", "announces it in the same way", |words| {
        let seconds = words.optional(number)?;
        act(move |faults| faults.announce(|limits| limits.server_keep_alive = seconds))
    }),
];

/// What the words in capitals of the usages mean.
const WORDS: &str = "\
REASON is a name or number of MQTT 5 §2.4 from 0x80 on, for instance quota-exceeded or 0x97. WHICH is \
any of topic=FILTER, payload=TEXT (somewhere in it), every=N (each Nth of those) and once; without, \
every message. Words with spaces stand between double quotes: payload=\"a b\".";

type Parse = fn(&mut Words<'_>) -> Result<Switch, SwitchError>;

/// One change of a broker's misbehaviour.
///
/// ```
/// # use device_sim::broker::Switch;
/// let switch: Switch = "reject quota-exceeded topic=site/+ every=3".parse()?;
/// assert!("reject quota".parse::<Switch>().is_err());
/// # Ok::<(), device_sim::broker::SwitchError>(())
/// ```
#[derive(Clone)]
pub struct Switch(Arc<dyn Fn(&Faults) + Send + Sync>);

/// A line is no switch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// There is no switch of that name.
    #[error("{name:?} is no switch; there are {}", names())]
    Unknown {
        /// What was written.
        name: String,
    },
    /// Something is missing, wrong or too much.
    #[error("{what}; write {usage}")]
    Arguments {
        /// What.
        what: String,
        /// How it is used.
        usage: &'static str,
    },
    /// A quotation mark has no second one.
    #[error("a quotation mark is missing")]
    Quotation,
}

impl Switch {
    /// Switches.
    pub fn apply(&self, faults: &Faults) {
        (self.0)(faults);
    }

    /// Every switch with how it is used and what it does, one a line.
    pub fn manual() -> String {
        let mut text = String::new();
        for (usage, what, _) in SWITCHES {
            text.push_str(&format!("  {usage}\n          {what}\n"));
        }
        text.push_str(&format!("\n{WORDS}"));
        text
    }
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Switch")
    }
}

impl FromStr for Switch {
    type Err = SwitchError;

    fn from_str(line: &str) -> Result<Self, SwitchError> {
        let all = split(line)?;
        let name = all.first().map_or("", String::as_str);
        let Some(&(usage, _, parse)) = SWITCHES.iter().find(|(usage, ..)| name_of(usage) == name)
        else {
            return Err(SwitchError::Unknown { name: name.to_owned() });
        };
        let mut words = Words::new(&all, usage);
        let switch = parse(&mut words)?;
        words.end().map(|()| switch)
    }
}

fn name_of(usage: &str) -> &str {
    usage.split(' ').next().unwrap_or_default()
}

fn names() -> String {
    SWITCHES.iter().map(|(usage, ..)| name_of(usage)).collect::<Vec<_>>().join(", ")
}

fn act(apply: impl Fn(&Faults) + Send + Sync + 'static) -> Result<Switch, SwitchError> {
    Ok(Switch(Arc::new(apply)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::Reason;
    use crate::broker::faults::{CutAfter, FaultPlan, Matching, Which};

    fn plan(line: &str) -> FaultPlan {
        let faults = Faults::new();
        line.parse::<Switch>().unwrap_or_else(|error| panic!("{line}: {error}")).apply(&faults);
        faults.watch().borrow().clone()
    }

    #[test]
    fn arguments_arrive_where_they_belong() {
        assert_eq!(plan("refuse 0x97").refusal, Some(Reason::QuotaExceeded));
        assert_eq!(plan("drop-pubacks 3").pubacks.drop, Which::EveryNth(3));
        assert_eq!(plan("drop-pubrecs all").pubrecs.drop, Which::All);
        assert_eq!(plan("delay-pubcomps 1m30s").pubcomps.delay, Duration::from_secs(90));
        assert_eq!(plan("receive-maximum 5").announced.receive_maximum, NonZero::new(5));
        assert_eq!(plan("maximum-qos 1").announced.maximum_qos, QoS::AtLeastOnce);
        assert!(!plan("retain-available off").announced.retain_available);
        let matching = Matching::all().topic("a/+".parse().unwrap()).payload("x y").every(3).once();
        let line = "reject not-authorized topic=a/+ payload=\"x y\" every=3 once";
        assert_eq!(plan(line).rejection.value(), Some(&(Reason::NotAuthorized, matching)));
        let cut = plan("cut bytes=100 once").cut;
        assert_eq!(
            cut.value().map(|cut| (cut.after, cut.once)),
            Some((CutAfter::Bytes(100), true))
        );
        let goodbye = plan("disconnect server-busy packets=4").cut;
        let goodbye = goodbye.value().map(|cut| (cut.after, cut.once, cut.goodbye));
        assert_eq!(goodbye, Some((CutAfter::Packets(4), false, Some(Reason::ServerBusy))));
    }

    #[test]
    fn what_is_switched_on_is_switched_off_again() {
        let faults = Faults::new();
        let apply = |line: &str| line.parse::<Switch>().unwrap().apply(&faults);
        let lines = [
            "turn-away on",
            "refuse banned",
            "silence on",
            "drop-pubacks all",
            "delay-pubacks 1s",
            "reorder-pubacks 3",
            "duplicate-pubacks all",
            "stray-pubacks 2",
            "drop-pubrecs all",
            "delay-pubrecs 1s",
            "drop-pubcomps all",
            "delay-pubcomps 1s",
            "reject banned",
            "poison",
            "lie once",
            "lose-sessions on",
            "wrong-session-present on",
            "stall on",
            "cut packets=1",
            "disconnect banned packets=1",
            "receive-maximum 1",
            "maximum-packet-size 100",
            "maximum-qos 0",
            "topic-alias-maximum 1",
            "server-keep-alive 1",
        ];
        for line in lines {
            apply(line);
            assert_ne!(*faults.watch().borrow(), FaultPlan::default(), "{line}");
            apply(&format!("{} off", name_of(line)));
            let mut plan = faults.watch().borrow().clone();
            assert!(plan.rejection.value().is_none() && plan.cut.value().is_none(), "{line}");
            assert!(plan.poison.value().is_none() && plan.lie.value().is_none(), "{line}");
            let fresh = FaultPlan::default();
            // How often they were switched stays.
            (plan.rejection, plan.poison) = (fresh.rejection.clone(), fresh.poison.clone());
            (plan.lie, plan.cut) = (fresh.lie.clone(), fresh.cut.clone());
            assert_eq!(plan, fresh, "{line}");
        }
    }

    #[test]
    fn mistakes_are_told_with_the_usage() {
        for line in [
            "",
            "refus banned",
            "refuse",
            "refuse success",
            "refuse banned too",
            "turn-away yes",
            "drop-pubacks some",
            "delay-pubacks -1s",
            "delay-pubacks 5",
            "reject banned topic=a#",
            "poison topik=a",
            "cut 5",
            "cut packets=",
            "disconnect banned",
            "receive-maximum 0",
            "maximum-qos 2",
            "poison payload=\"a",
            "clear now",
        ] {
            let error = line.parse::<Switch>().unwrap_err().to_string();
            assert!(!error.is_empty());
        }
        assert_eq!(
            "refuse".parse::<Switch>().unwrap_err().to_string(),
            "something is missing; write refuse REASON|off"
        );
    }

    #[test]
    fn manual_has_every_switch() {
        let manual = Switch::manual();
        assert!(SWITCHES.iter().all(|(usage, ..)| manual.contains(usage)), "{manual}");
    }
}
