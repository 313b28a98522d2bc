//! What the keys of a fault mean together, and whether its place knows such a fault.

use std::collections::BTreeSet;
use std::time::Duration;

use super::config::FaultConfig;
use super::effect::{BrokerSwitch, Effect, Fault, Impairment};
use super::plan::MAX_OCCURRENCES;
use super::values::Place;
use crate::Via;
use crate::report::QUIET;
use crate::scenario::values::Share;
use crate::settings::ByteSize;

/// A mistake in an entry of `[[faults]]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{title}: {help}")]
pub struct FaultError {
    /// Which entry, from 0.
    pub index: usize,
    /// The key that it is about.
    pub key: &'static str,
    /// What is wrong.
    pub title: String,
    /// What to write.
    pub help: String,
}

/// The faults of a scenario that lasts for `duration`; `via_of` tells what a fleet speaks.
///
/// # Errors
/// Every mistake in them.
pub fn check(
    configs: &[FaultConfig],
    duration: Duration,
    via_of: impl Fn(&str) -> Option<Via>,
) -> Result<Vec<Fault>, Vec<FaultError>> {
    let (mut faults, mut errors, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (index, config) in configs.iter().enumerate() {
        let checked = named(config, &mut names)
            .and_then(|()| fault(config, duration))
            .and_then(|fault| fits(config, &fault.effect, &via_of).map(|()| fault));
        match checked {
            Ok(fault) => faults.push(fault),
            Err((key, title, help)) => errors.push(FaultError { index, key, title, help }),
        }
    }
    if errors.is_empty() { Ok(faults) } else { Err(errors) }
}

/// The key, what is wrong, what to write.
type Mistake = (&'static str, String, String);

fn mistake<T>(
    key: &'static str,
    title: impl Into<String>,
    help: impl Into<String>,
) -> Result<T, Mistake> {
    Err((key, title.into(), help.into()))
}

fn named<'a>(config: &'a FaultConfig, names: &mut BTreeSet<&'a str>) -> Result<(), Mistake> {
    match config.name.as_str() {
        "" => mistake("name", "a fault without a name", "write name = \"lossy radio\""),
        QUIET => mistake("name", "`quiet` is when there is no fault", "give it another name"),
        name if !names.insert(name) => {
            mistake("name", format!("two faults are called `{name}`"), "give one another name")
        }
        _ => Ok(()),
    }
}

fn fault(config: &FaultConfig, duration: Duration) -> Result<Fault, Mistake> {
    let effect = effect(config)?;
    let at = config.at.duration();
    let lasts = config.lasts.map(|lasts| lasts.duration());
    let every = config.every.map(|every| every.duration());
    if at >= duration {
        return mistake("at", "it never begins", "write a time before the end of the run");
    }
    if effect.is_instantaneous() && lasts.is_some() {
        return mistake("for", "it is over at once", "remove `for`; `every` repeats it");
    }
    if lasts.is_some_and(|lasts| lasts.is_zero()) {
        return mistake("for", "no time at all", "write a duration such as \"10s\"");
    }
    if let Some(every) = every {
        if lasts.is_none() && !effect.is_instantaneous() {
            return mistake("every", "it has no end to begin again after", "add `for = \"5s\"`");
        }
        if every <= lasts.unwrap_or_default() {
            return mistake(
                "every",
                "it begins again before it has ended",
                "write more than `for`",
            );
        }
        if (duration - at).as_nanos() / every.as_nanos().max(1) >= MAX_OCCURRENCES as u128 {
            let help = format!("write a longer time, so that there are {MAX_OCCURRENCES} at most");
            return mistake("every", "it happens too often", help);
        }
    }
    Ok(Fault { name: config.name.clone(), at, lasts, every, on: config.on.clone(), effect })
}

/// The one thing that it does.
fn effect(config: &FaultConfig) -> Result<Effect, Mistake> {
    let part = |share: Option<Share>| share.map_or(0.0, Share::part);
    let network = Impairment {
        loss: part(config.loss),
        duplicate: part(config.duplicate),
        reorder: part(config.reorder),
        corrupt: part(config.corrupt),
        truncate: part(config.truncate),
        delay: config.delay,
        bandwidth: config.bandwidth,
        partition: config.partition,
    };
    let mut effects = Vec::new();
    effects.extend((network != Impairment::default()).then_some(Effect::Network(network)));
    effects.extend(config.refuse.then_some(Effect::Refuse));
    effects.extend(config.cut.then_some(Effect::Cut));
    if let Some(line) = &config.broker {
        match BrokerSwitch::parse(line) {
            Ok(switch) => effects.push(Effect::Broker(switch)),
            Err(error) => {
                return mistake("broker", "no misbehaviour of the broker", error.to_string());
            }
        }
    }
    effects.extend(config.unplug.then_some(Effect::Unplug));
    effects.extend(config.kill.then_some(Effect::Kill));
    effects.extend(config.stop.then_some(Effect::Stop));
    effects.extend(config.restart.then_some(Effect::Restart));
    effects.extend(config.clock_step.map(Effect::ClockStep));
    let free = config.free.map_or(0, ByteSize::bytes);
    effects.extend(config.disk_full.then_some(Effect::DiskFull { free }));
    if config.free.is_some() && !config.disk_full {
        return mistake("free", "it says what a full disk has left", "add disk_full = true");
    }
    let mut effects = effects.into_iter();
    match (effects.next(), effects.next()) {
        (None, _) => mistake("name", "a fault that does nothing", "add for instance loss = \"5%\""),
        (Some(effect), None) => Ok(effect),
        (Some(_), Some(second)) => {
            mistake(second.key(), "a fault does one thing", "write a second entry of [[faults]]")
        }
    }
}

/// What passes at a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Medium {
    Datagrams,
    Connections,
    Line,
    Process,
}

fn fits(
    config: &FaultConfig,
    effect: &Effect,
    via_of: &impl Fn(&str) -> Option<Via>,
) -> Result<(), Mistake> {
    let medium = match &config.on {
        Place::Broker => Medium::Connections,
        Place::Gateway => Medium::Process,
        Place::Serial(_) => Medium::Line,
        Place::Fleet(name) => match via_of(name.as_str()) {
            Some(Via::Coap | Via::Udp | Via::LinkUdp) => Medium::Datagrams,
            Some(Via::Serial | Via::LinkSerial) => Medium::Line,
            Some(Via::CoapTcp | Via::Tcp | Via::LinkTcp | Via::Http | Via::Mqtt) => {
                Medium::Connections
            }
            Some(Via::Modbus) => {
                let title = format!("`{}` is asked by the gateway", config.on);
                let help = "a fault on \"gateway\" or \"target.mqtt\" is possible";
                return mistake("on", title, help);
            }
            None => {
                let help = "name a fleet of this scenario, \"target.mqtt\", \"gateway\" or \"serial:PATH\"";
                return mistake(
                    "on",
                    format!("there is no fleet `{name}`", name = name.as_str()),
                    help,
                );
            }
        },
    };
    let there = match effect {
        Effect::Network(_) if matches!(medium, Medium::Process | Medium::Line) => false,
        Effect::Network(_) => return datagram_keys(config, medium),
        Effect::Refuse | Effect::Cut => medium == Medium::Connections,
        Effect::Broker(_) => config.on == Place::Broker,
        Effect::Unplug => medium == Medium::Line,
        Effect::Kill | Effect::Stop | Effect::Restart | Effect::ClockStep(_) => {
            medium == Medium::Process
        }
        Effect::DiskFull { .. } => medium == Medium::Process,
    };
    if there {
        return Ok(());
    }
    let help = match effect {
        Effect::Broker(_) => "write on = \"target.mqtt\"",
        Effect::Kill | Effect::Stop | Effect::Restart => "write on = \"gateway\"",
        Effect::ClockStep(_) | Effect::DiskFull { .. } => "write on = \"gateway\"",
        Effect::Network(_) if medium == Medium::Line => {
            "a pseudo-terminal can be away: write unplug = true"
        }
        Effect::Network(_) => "kill, stop, restart, clock_step and disk_full are for the gateway",
        Effect::Refuse | Effect::Cut | Effect::Unplug => match medium {
            Medium::Datagrams => "there is nothing but datagrams: write partition = true",
            Medium::Connections => "there are connections: write cut = true or refuse = true",
            Medium::Line => "there is a serial port: write unplug = true",
            Medium::Process => "write kill = true or stop = true",
        },
    };
    let key = match effect {
        Effect::Network(_) => "on",
        Effect::Refuse | Effect::Cut | Effect::Broker(_) | Effect::Unplug => effect.key(),
        Effect::Kill | Effect::Stop | Effect::Restart => effect.key(),
        Effect::ClockStep(_) | Effect::DiskFull { .. } => effect.key(),
    };
    mistake(key, format!("`{}` has no such fault", config.on), help)
}

/// A stream of bytes has no parts that could be missing, doubled or out of order.
fn datagram_keys(config: &FaultConfig, medium: Medium) -> Result<(), Mistake> {
    let shares = [
        ("loss", config.loss),
        ("duplicate", config.duplicate),
        ("reorder", config.reorder),
        ("truncate", config.truncate),
    ];
    let found = shares.into_iter().find(|(_, share)| share.is_some_and(|part| part.part() > 0.0));
    match found {
        Some((key, _)) if medium != Medium::Datagrams => {
            let title = format!("{key} is for datagrams, and `{}` is a stream of bytes", config.on);
            mistake(key, title, "write corrupt, delay, bandwidth, partition, cut or refuse")
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[derive(serde::Deserialize)]
    struct File {
        faults: Vec<FaultConfig>,
    }

    fn checked(text: &str) -> Result<Vec<Fault>, Vec<FaultError>> {
        let text = format!("[[faults]]\nname = \"f\"\nat = \"1s\"\n{text}");
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"));
        check(&file.faults, MINUTE, |fleet| match fleet {
            "bench" => Some(Via::Coap),
            "lines" => Some(Via::Tcp),
            "port" => Some(Via::Serial),
            "bus" => Some(Via::Modbus),
            _ => None,
        })
    }

    fn only(text: &str) -> FaultError {
        let mut errors = checked(text).expect_err(text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors.remove(0)
    }

    #[test]
    fn what_a_place_knows_is_accepted() {
        for text in [
            "on = \"bench\"\nfor = \"5s\"\nloss = \"5%\"\ndelay = { mean = \"80ms\", p99 = \"900ms\" }",
            "on = \"bench\"\nduplicate = 0.02\nreorder = \"1%\"\ncorrupt = \"0.5%\"\ntruncate = \"1%\"",
            "on = \"lines\"\nbandwidth = \"9600 bit/s\"\ncorrupt = \"1%\"",
            "on = \"target.mqtt\"\nfor = \"5s\"\nevery = \"10s\"\nrefuse = true",
            "on = \"target.mqtt\"\nevery = \"10s\"\ncut = true",
            "on = \"target.mqtt\"\nfor = \"5s\"\nbroker = \"drop-pubacks 3\"",
            "on = \"target.mqtt\"\nbroker = \"forget-everything\"",
            "on = \"port\"\nfor = \"1s\"\nunplug = true",
            "on = \"serial:run/ttyGW\"\nfor = \"1s\"\nunplug = true",
            "on = \"gateway\"\nfor = \"1s\"\nkill = true",
            "on = \"gateway\"\nclock_step = \"1h\"",
            "on = \"gateway\"\nfor = \"5s\"\ndisk_full = true\nfree = \"256KiB\"",
        ] {
            assert_eq!(checked(text).expect(text).len(), 1);
        }
    }

    #[test]
    fn contradictions_are_told_at_their_key() {
        for (text, key) in [
            ("on = \"bench\"\nunplug = true", "unplug"),
            ("on = \"bench\"\nrefuse = true", "refuse"),
            ("on = \"lines\"\nloss = \"5%\"", "loss"),
            ("on = \"port\"\ncut = true", "cut"),
            ("on = \"port\"\npartition = true", "on"),
            ("on = \"gateway\"\npartition = true", "on"),
            ("on = \"bus\"\npartition = true", "on"),
            ("on = \"nobody\"\nloss = \"5%\"", "on"),
            ("on = \"bench\"\nkill = true", "kill"),
            ("on = \"bench\"\ndisk_full = true", "disk_full"),
            ("on = \"gateway\"\nkill = true\nfree = \"1MiB\"", "free"),
            ("on = \"lines\"\nbroker = \"stall on\"", "broker"),
            ("on = \"target.mqtt\"\nbroker = \"stal on\"", "broker"),
            ("on = \"bench\"", "name"),
            ("on = \"gateway\"\nkill = true\nstop = true", "stop"),
            ("on = \"target.mqtt\"\ncut = true\nfor = \"1s\"", "for"),
            ("on = \"target.mqtt\"\nbroker = \"cut-all\"\nfor = \"1s\"", "for"),
            ("on = \"bench\"\nloss = \"5%\"\nfor = \"0s\"", "for"),
            ("on = \"bench\"\nloss = \"5%\"\nevery = \"2s\"", "every"),
            ("on = \"bench\"\nloss = \"5%\"\nfor = \"2s\"\nevery = \"2s\"", "every"),
            ("on = \"target.mqtt\"\ncut = true\nevery = \"1ms\"", "every"),
            ("on = \"target.mqtt\"\ncut = true\nevery = \"0s\"", "every"),
        ] {
            assert_eq!(only(text).key, key, "{text}");
        }
        let error = only("on = \"bench\"\nunplug = true");
        let expected =
            "`bench` has no such fault: there is nothing but datagrams: write partition = true";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn all_mistakes_are_told_in_one_run_and_names_differ() {
        let text = "on = \"bench\"\nkill = true\n[[faults]]\nname = \"f\"\nat = \"1s\"\non = \"bench\"\nloss = 1\n\
                    [[faults]]\nname = \"late\"\nat = \"1m\"\non = \"bench\"\nloss = 1\n\
                    [[faults]]\nname = \"quiet\"\nat = \"1s\"\non = \"bench\"\nloss = 1";
        let errors = checked(text).unwrap_err();
        let told: Vec<_> = errors.iter().map(|error| (error.index, error.key)).collect();
        assert_eq!(told, [(0, "kill"), (1, "name"), (2, "at"), (3, "name")]);
    }
}
