//! What a payload says becomes one that can be written.

use std::sync::Arc;

use super::super::model::{ChannelConfig, Format, PayloadConfig};
use super::Check;
use crate::Via;
use crate::device::Channel;
use crate::payload::{BinaryTemplate, Payload, Telegram, TextTemplate};
use crate::settings::Id;
use crate::settings::suggest::nearest;
use crate::settings::tree::KeyPath;
use crate::settings::words::either;
use crate::signal::{MAX_DECIMALS, Signal};

/// Digits after the decimal point where nothing says it.
const DEFAULT_DECIMALS: u8 = 2;

/// How reports are written where nothing says it.
pub(super) const fn usual(via: Via) -> Format {
    match via {
        Via::Coap | Via::CoapTcp => Format::SenmlCbor,
        Via::Udp | Via::Tcp | Via::Http | Via::Serial | Via::Mqtt => Format::Json,
        Via::LinkSerial | Via::LinkTcp | Via::LinkUdp => Format::Link,
        Via::Modbus => Format::Registers,
    }
}

/// Digits after the decimal point of a signal where nothing says it.
pub(super) const fn usual_decimals(signal: &Signal) -> u8 {
    if matches!(signal, Signal::Counter { .. }) { 0 } else { DEFAULT_DECIMALS }
}

impl Check<'_> {
    pub(super) fn format(&mut self, name: &str, via: Via, format: Format) {
        let is_link = format == Format::Link;
        if via.is_link() != is_link {
            let expected = match via.is_link() {
                true => format!("expected \"link\", or no `format`: `{via}` has frames of its own"),
                false => format!(
                    "expected another format: `{via}` does not carry frames of the link protocol"
                ),
            };
            self.refuse(["fleets", name, "payload", "format"], "the format does not fit", expected);
            return;
        }
        if (via == Via::Modbus) != (format == Format::Registers) {
            let expected = match via == Via::Modbus {
                true => "expected \"registers\", or no `format`: `modbus` has nothing else",
                false => "expected another format: registers are read over `modbus` alone",
            };
            self.refuse(["fleets", name, "payload", "format"], "the format does not fit", expected);
        }
    }

    pub(super) fn channels(
        &mut self,
        name: &str,
        config: &PayloadConfig,
        format: Format,
    ) -> Vec<Channel> {
        if config.channels.is_empty() {
            let title = format!("`{name}` measures nothing");
            let help = "add the name of a reading and its signal, such as `temp = \"t1\"`";
            self.tell(["fleets", name, "payload"], title, help);
        }
        let mut channels = Vec::new();
        for (reading, channel) in &config.channels {
            let ChannelConfig { signal, unit, decimals, code, register: _ } = channel;
            let at = ["fleets", name, "payload", reading.as_str()];
            if reading.is_empty() {
                self.refuse(at, "a reading without a name", "expected a name");
            }
            if decimals.is_some_and(|decimals| decimals > MAX_DECIMALS) {
                let keys = at.into_iter().chain(["decimals"]);
                self.refuse(keys, "too many digits", format!("expected 0 to {MAX_DECIMALS}"));
            }
            if code.is_some() != (format == Format::Dsmr) {
                let title = match code {
                    Some(_) => format!("`{reading}` has a `code`, and the format none"),
                    None => format!("`{reading}` has no `code`"),
                };
                let help = format!(
                    "with `format = \"dsmr\"`, and only there, write `{reading} = {{ signal = \"{signal}\", code = \"1-0:1.7.0\" }}`"
                );
                self.tell(at, title, help);
            }
            if code
                .as_ref()
                .is_some_and(|code| code.contains(|c: char| c.is_control() || "()!*".contains(c)))
            {
                self.refuse(at, "not a code", "expected a code such as \"1-0:1.7.0\"");
            }
            let Some(found) = self.signals.get(signal) else {
                self.unknown_signal(&at, signal);
                continue;
            };
            channels.push(Channel {
                name: reading.clone(),
                unit: unit.clone(),
                signal: found.clone(),
                decimals: decimals.unwrap_or_else(|| usual_decimals(found)),
            });
        }
        channels
    }

    fn unknown_signal(&mut self, at: &[&str; 4], signal: &Id) {
        // What is wrong there is told there.
        if self.findings.failed(&KeyPath::of(["signals", signal.as_str()])) {
            self.findings.mark(KeyPath::of(at.iter().copied()));
            return;
        }
        let known: Vec<_> = self.signals.keys().map(Id::as_str).collect();
        let expected = match nearest(signal.as_str(), known.iter().copied()) {
            Some(similar) => format!("expected the name of a signal\ndid you mean `{similar}`?"),
            None if known.is_empty() => {
                "expected the name of a signal\nadd one: [signals.temp]".to_owned()
            }
            None => format!("expected the name of a signal: {}", either(&known)),
        };
        self.refuse(at.iter().copied(), format!("there is no signal `{signal}`"), expected);
    }

    pub(super) fn payload(
        &mut self,
        name: &str,
        config: &PayloadConfig,
        format: Format,
    ) -> Option<Payload> {
        let at = ["fleets", name, "payload", "template"];
        let takes_template = matches!(format, Format::Text | Format::Binary | Format::Nmea);
        match (&config.template, takes_template) {
            (None, true) => {
                let help = match format {
                    Format::Binary => "add `template = \"aa {temp:i16le*10} {check:sum8}\"`",
                    Format::Nmea => "add `template = \"WIMTA,{temp},C\"`",
                    Format::SenmlJson | Format::SenmlCbor | Format::Json | Format::Keyvalue => "",
                    Format::Csv | Format::Dsmr | Format::Link | Format::Registers => "",
                    Format::Text => "add `template = \"{device} {millis} {temp}\"`",
                };
                self.tell(["fleets", name, "payload"], "a pattern is missing", help);
                return None;
            }
            (Some(_), false) => {
                let help = "only `text`, `binary` and `nmea` have a pattern";
                self.tell(at, "a pattern that is not used", help);
                return None;
            }
            (Some(_), true) | (None, false) => {}
        }
        let pattern = config.template.as_deref().unwrap_or_default();
        let mut text = || match pattern.parse::<TextTemplate>() {
            Ok(template) => {
                self.fields(&at, config, template.channels()).then(|| Arc::new(template))
            }
            Err(error) => {
                self.refuse(at, "not a pattern", error.to_string());
                None
            }
        };
        Some(match format {
            Format::SenmlJson => Payload::SenmlJson,
            // A node has frames of its own, a unit registers; this is never written.
            Format::SenmlCbor | Format::Link | Format::Registers => Payload::SenmlCbor,
            Format::Json => Payload::Json,
            Format::Keyvalue => Payload::Keyvalue,
            Format::Csv => Payload::Csv,
            Format::Text => Payload::Text(text()?),
            Format::Nmea => Payload::Nmea(text()?),
            Format::Binary => match pattern.parse::<BinaryTemplate>() {
                Ok(template) => match self.fields(&at, config, template.channels()) {
                    true => Payload::Binary(Arc::new(template)),
                    false => return None,
                },
                Err(error) => {
                    self.refuse(at, "not a pattern", error.to_string());
                    return None;
                }
            },
            Format::Dsmr => {
                let coded = config.channels.iter();
                let coded = coded.map(|(name, channel)| {
                    (name.clone(), channel.code.clone().unwrap_or_default())
                });
                Payload::Dsmr(Arc::new(Telegram(coded.collect())))
            }
        })
    }

    /// Whether a pattern names only what is measured.
    fn fields<'f>(
        &mut self,
        at: &[&str; 4],
        config: &PayloadConfig,
        mut fields: impl Iterator<Item = &'f str>,
    ) -> bool {
        let Some(unknown) = fields.find(|field| !config.channels.contains_key(*field)) else {
            return true;
        };
        let known: Vec<_> = config.channels.keys().map(String::as_str).collect();
        let known = known.into_iter().chain(["device", "time", "millis", "epoch", "seq"]);
        let known: Vec<_> = known.collect();
        let expected = match nearest(unknown, known.iter().copied()) {
            Some(similar) => {
                format!("expected a reading of this payload\ndid you mean `{similar}`?")
            }
            None => format!("expected one of {}", either(&known)),
        };
        self.refuse(at.iter().copied(), format!("`{{{unknown}}}` is not measured"), expected);
        false
    }
}
