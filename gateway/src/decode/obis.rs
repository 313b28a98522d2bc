//! What the codes of meters mean: OBIS (IEC 62056-61), in the part that DSMR and SML meters send.

use std::fmt;

/// A code `A-B:C.D.E`; the billing period, F, says nothing about what is current.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Obis {
    /// 0 is of no medium, 1 electricity.
    pub(super) medium: u8,
    /// The channel of the meter, where others are connected to it.
    pub(super) channel: u8,
    /// What is measured, how it is processed, and which tariff.
    pub(super) quantity: [u8; 3],
}

impl Obis {
    /// `1-0:1.8.1`, also with `*255` behind it, or without what stands before the colon.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.split('*').next()?;
        let (medium, channel, quantity) = match text.split_once(':') {
            Some((of, quantity)) => {
                let (medium, channel) = of.split_once('-')?;
                (medium.parse().ok()?, channel.parse().ok()?, quantity)
            }
            None => (1, 0, text),
        };
        let mut parts = quantity.split('.').map(|part| part.parse().ok());
        let quantity = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(Self { medium, channel, quantity })
    }

    /// As SML has it.
    pub(super) const fn from_bytes(bytes: [u8; 6]) -> Self {
        let [medium, channel, c, d, e, _] = bytes;
        Self { medium, channel, quantity: [c, d, e] }
    }

    /// The name of such a reading; the code where it has none.
    pub(super) fn name(&self) -> String {
        self.known().map_or_else(|| self.to_string(), str::to_owned)
    }

    const fn known(&self) -> Option<&'static str> {
        Some(match (self.medium, self.quantity) {
            (1, [1, 8, 0]) => "energy_import",
            (1, [1, 8, 1]) => "energy_import_t1",
            (1, [1, 8, 2]) => "energy_import_t2",
            (1, [2, 8, 0]) => "energy_export",
            (1, [2, 8, 1]) => "energy_export_t1",
            (1, [2, 8, 2]) => "energy_export_t2",
            (1, [3, 8, 0]) => "reactive_energy_import",
            (1, [3, 8, 1]) => "reactive_energy_import_t1",
            (1, [3, 8, 2]) => "reactive_energy_import_t2",
            (1, [4, 8, 0]) => "reactive_energy_export",
            (1, [4, 8, 1]) => "reactive_energy_export_t1",
            (1, [4, 8, 2]) => "reactive_energy_export_t2",
            (1, [1, 7, 0]) => "power_import",
            (1, [2, 7, 0]) => "power_export",
            (1, [3, 7, 0]) => "reactive_power_import",
            (1, [4, 7, 0]) => "reactive_power_export",
            (1, [15 | 16, 7, 0]) => "power",
            (1, [21, 7, 0]) => "power_import_l1",
            (1, [41, 7, 0]) => "power_import_l2",
            (1, [61, 7, 0]) => "power_import_l3",
            (1, [22, 7, 0]) => "power_export_l1",
            (1, [42, 7, 0]) => "power_export_l2",
            (1, [62, 7, 0]) => "power_export_l3",
            (1, [36, 7, 0]) => "power_l1",
            (1, [56, 7, 0]) => "power_l2",
            (1, [76, 7, 0]) => "power_l3",
            (1, [32, 7, 0]) => "voltage_l1",
            (1, [52, 7, 0]) => "voltage_l2",
            (1, [72, 7, 0]) => "voltage_l3",
            (1, [31, 7, 0]) => "current_l1",
            (1, [51, 7, 0]) => "current_l2",
            (1, [71, 7, 0]) => "current_l3",
            (1, [32, 32, 0]) => "voltage_sags_l1",
            (1, [52, 32, 0]) => "voltage_sags_l2",
            (1, [72, 32, 0]) => "voltage_sags_l3",
            (1, [32, 36, 0]) => "voltage_swells_l1",
            (1, [52, 36, 0]) => "voltage_swells_l2",
            (1, [72, 36, 0]) => "voltage_swells_l3",
            (1, [13, 7, 0]) => "power_factor",
            (1, [14, 7, 0]) => "frequency",
            (0, [17, 0, 0]) => "limit",
            (0, [24, 4, 0]) => "valve_state",
            (0, [96, 3, 10]) => "breaker_state",
            (0, [96, 7, 9]) => "long_power_failures",
            (0, [96, 7, 21]) => "power_failures",
            (0, [96, 13, 0]) => "message",
            (0, [96, 13, 1]) => "message_code",
            (0, [96, 14, 0]) => "tariff",
            (1, [96, 50, 1]) | (129, [199, 130, 3]) => "manufacturer",
            _ => return None,
        })
    }
}

impl fmt::Display for Obis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { medium, channel, quantity: [c, d, e] } = self;
        write!(f, "{medium}-{channel}:{c}.{d}.{e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_with_and_without_what_surrounds_them() {
        let import = Obis { medium: 1, channel: 0, quantity: [1, 8, 0] };
        for text in ["1-0:1.8.0", "1-0:1.8.0*255", "1.8.0"] {
            assert_eq!(Obis::parse(text), Some(import), "{text}");
        }
        assert_eq!(import.name(), "energy_import");
        assert_eq!(Obis::parse("0-1:24.9.1").unwrap().name(), "0-1:24.9.1");
        for text in ["", "1-0:1.8", "1-0:1.8.0.0", "1:1.8.0", "1-0:1.8.300", "a-b:c.d.e", "1-0:"] {
            assert_eq!(Obis::parse(text), None, "{text}");
        }
    }
}
