//! Units of a Modbus bus: that they are asked, where their values are, and which address each has.

use super::super::fleet::Fleet;
use super::super::model::{ChannelConfig, FleetConfig, Format, PayloadConfig, RegisterConfig};
use super::{Check, payload};
use crate::Via;
use crate::device::Pace;
use crate::modbus::Register;
use crate::settings::RegisterType;
use crate::signal::Signal;
use proto::Value;

/// The highest address of a unit ("MODBUS over Serial Line" V1.02 §2.2).
const MAX_UNIT: u32 = 247;

impl Check<'_> {
    /// When a fleet is asked is the gateway's business: none of these keys means anything.
    pub(super) fn asked(&mut self, name: &str, config: &FleetConfig) -> Option<Pace> {
        let keys = [
            ("every", config.every.is_some()),
            ("burst", config.burst.is_some()),
            ("on_change", config.on_change.is_some()),
            ("reports", config.reports.is_some()),
            ("ramp", config.ramp.is_some()),
            ("churn", config.churn.is_some()),
            ("reboot", config.reboot.is_some()),
            ("clock", config.clock.is_some()),
        ];
        let found = keys.into_iter().find(|(_, is_there)| *is_there);
        if let Some((key, _)) = found {
            let title = format!("`{key}` for devices that are asked");
            let help = "leave it out: the gateway says by `interval` when it reads registers";
            self.tell(["fleets", name, key], title, help);
        }
        found.is_none().then_some(Pace::Asked)
    }

    /// Where the channels are, in their order; what is wrong with them is told.
    pub(super) fn registers(
        &mut self,
        name: &str,
        config: &PayloadConfig,
        format: Format,
    ) -> Vec<Register> {
        let mut registers: Vec<(&str, Register)> = Vec::new();
        for (reading, channel) in &config.channels {
            let at = ["fleets", name, "payload", reading.as_str()];
            let RegisterConfig { at: address, kind, order, table } = channel.register;
            let is_there = [address.is_some(), kind.is_some(), order.is_some(), table.is_some()];
            if format != Format::Registers {
                if is_there.contains(&true) {
                    let title = format!("`{reading}` has registers, and the format none");
                    let help = "leave out `at`, `type`, `order` and `table`: they are for \
                                `via = \"modbus\"`";
                    self.tell(at, title, help);
                }
                continue;
            }
            let Some(address) = address else {
                let help =
                    format!("write `{reading} = {{ signal = \"{}\", at = 0 }}`", channel.signal);
                self.tell(at, format!("`{reading}` has no register"), help);
                continue;
            };
            let number = kind.unwrap_or(RegisterType::U16).number();
            let decimals = self.decimals(channel);
            let table = table.unwrap_or_default().table();
            let order = order.unwrap_or_default().order();
            let register =
                number.and_then(|format| Register::new(table, address, format, order, decimals));
            let Some(register) = register else {
                let expected = "expected a number, in `holding` or `input` registers up to 65535";
                self.refuse(at, format!("`{reading}` does not fit there"), expected);
                continue;
            };
            if let Some((other, _)) = registers.iter().find(|(_, other)| other.overlaps(&register))
            {
                let title = format!("`{reading}` and `{other}` have registers in common");
                self.refuse(at, title, "expected an address behind those of the other");
                continue;
            }
            if self.signals.get(&channel.signal).is_some_and(|signal| !is_number(signal)) {
                let expected = "expected a signal of numbers";
                self.refuse(at, format!("registers cannot hold `{}`", channel.signal), expected);
            }
            registers.push((reading, register));
        }
        registers.into_iter().map(|(_, register)| register).collect()
    }

    /// Digits after the decimal point of a channel.
    fn decimals(&self, channel: &ChannelConfig) -> u8 {
        let signal = self.signals.get(&channel.signal);
        channel.decimals.or_else(|| signal.map(payload::usual_decimals)).unwrap_or_default()
    }

    /// Each unit has an address of its own.
    pub(super) fn units(&mut self, fleets: &[Fleet]) {
        let mut taken: Vec<(&str, u32, u32)> = Vec::new();
        for fleet in fleets.iter().filter(|fleet| fleet.via() == Via::Modbus) {
            let (first, last) = (
                fleet.first_node,
                fleet.first_node.saturating_add(fleet.count().saturating_sub(1)),
            );
            if first == 0 || last > MAX_UNIT {
                let expected =
                    format!("expected units from 1 to {MAX_UNIT}: see `count` and `node`");
                let title = format!("units {first} to {last}");
                self.refuse(["fleets", fleet.name(), "count"], title, expected);
                continue;
            }
            let other = taken.iter().find(|(_, from, to)| first <= *to && *from <= last);
            if let Some((other, _, to)) = other {
                let title = format!("`{}` and `{other}` have units in common", fleet.name());
                let help = format!("write `node = {{ first = {} }}`", to.saturating_add(1));
                self.tell(["fleets", fleet.name()], title, help);
            }
            taken.push((fleet.name(), first, last));
        }
    }
}

/// Whether all its values are numbers, or true and false, which are 1 and 0.
fn is_number(signal: &Signal) -> bool {
    let fits = |value: &Value| matches!(value, Value::Number(_) | Value::Boolean(_));
    match signal {
        Signal::Constant(value) => fits(value),
        Signal::Choice { values, .. } => values.iter().all(|(value, _)| fits(value)),
        Signal::Text(_) => false,
        Signal::Sine { .. } | Signal::Square { .. } | Signal::Ramp { .. } => true,
        Signal::Walk { .. } | Signal::Gauss { .. } | Signal::Replay { .. } => true,
        Signal::Counter { .. } => true,
    }
}
