//! Units and how they become one another, in exact decimals.
//!
//! The names are those of SenML: its units (RFC 8428 §12.1, RFC 8798 §2), its secondary units with
//! their scale and offset (RFC 8798 §3), and common ones that it has no name for. Only units of one
//! [base](Unit::base) become one another: energy is not taken for charge, nor a share of something
//! for relative humidity.

use proto::Number;

/// A decimal: mantissa and power of ten.
type Decimal = (i64, i32);

const ONE: Decimal = (1, 0);

/// A unit: `(value + shift) × times ÷ per` is the value in the base unit.
struct Unit {
    name: &'static str,
    base: &'static str,
    shift: Decimal,
    times: Decimal,
    per: Decimal,
}

/// From one unit to another: `(value + before) × times ÷ per − after`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Conversion {
    before: Number,
    times: Number,
    per: Number,
    after: Number,
}

const fn unit(name: &'static str, base: &'static str, times: Decimal, per: Decimal) -> Unit {
    Unit { name, base, shift: (0, 0), times, per }
}

const fn scaled(name: &'static str, base: &'static str, mantissa: i64, exponent: i32) -> Unit {
    unit(name, base, (mantissa, exponent), ONE)
}

const fn base(name: &'static str) -> Unit {
    scaled(name, name, 1, 0)
}

const UNITS: &[Unit] = &[
    // Temperature
    base("K"),
    Unit { shift: (27_315, -2), ..scaled("Cel", "K", 1, 0) },
    Unit { shift: (27_315, -2), ..scaled("degC", "K", 1, 0) },
    Unit { shift: (45_967, -2), ..unit("degF", "K", (5, 0), (9, 0)) },
    // Pressure
    base("Pa"),
    scaled("hPa", "Pa", 1, 2),
    scaled("kPa", "Pa", 1, 3),
    scaled("MPa", "Pa", 1, 6),
    scaled("mbar", "Pa", 1, 2),
    scaled("bar", "Pa", 1, 5),
    scaled("psi", "Pa", 6_894_757_293_168, -9),
    scaled("mmHg", "Pa", 133_322_387_415, -9),
    scaled("inHg", "Pa", 3_386_389, -3),
    scaled("atm", "Pa", 101_325, 0),
    // Length
    base("m"),
    scaled("mm", "m", 1, -3),
    scaled("cm", "m", 1, -2),
    scaled("km", "m", 1, 3),
    scaled("in", "m", 254, -4),
    scaled("ft", "m", 3048, -4),
    scaled("mi", "m", 1_609_344, -3),
    // Speed
    base("m/s"),
    unit("km/h", "m/s", ONE, (36, -1)),
    unit("mm/h", "m/s", ONE, (36, 5)),
    unit("m/h", "m/s", ONE, (36, 2)),
    scaled("mph", "m/s", 44_704, -5),
    unit("kn", "m/s", (1852, 0), (36, 2)),
    // Area, volume, flow
    base("m2"),
    scaled("cm2", "m2", 1, -4),
    base("m3"),
    scaled("l", "m3", 1, -3),
    scaled("ml", "m3", 1, -6),
    scaled("gal", "m3", 3_785_411_784, -12),
    base("m3/s"),
    scaled("l/s", "m3/s", 1, -3),
    unit("l/min", "m3/s", (1, -3), (60, 0)),
    unit("m3/h", "m3/s", ONE, (36, 2)),
    // Mass, density
    base("kg"),
    scaled("g", "kg", 1, -3),
    scaled("mg", "kg", 1, -6),
    scaled("t", "kg", 1, 3),
    scaled("lb", "kg", 45_359_237, -8),
    scaled("oz", "kg", 28_349_523_125, -12),
    base("kg/m3"),
    scaled("g/m3", "kg/m3", 1, -3),
    scaled("mg/m3", "kg/m3", 1, -6),
    scaled("ug/m3", "kg/m3", 1, -9),
    // Time, frequency
    base("s"),
    scaled("us", "s", 1, -6),
    scaled("ms", "s", 1, -3),
    scaled("min", "s", 60, 0),
    scaled("h", "s", 3600, 0),
    scaled("d", "s", 86_400, 0),
    base("Hz"),
    scaled("kHz", "Hz", 1, 3),
    scaled("MHz", "Hz", 1, 6),
    scaled("GHz", "Hz", 1, 9),
    base("1/s"),
    unit("1/min", "1/s", ONE, (60, 0)),
    // Electricity
    base("A"),
    scaled("mA", "A", 1, -3),
    scaled("uA", "A", 1, -6),
    base("V"),
    scaled("mV", "V", 1, -3),
    scaled("kV", "V", 1, 3),
    base("Ohm"),
    scaled("kOhm", "Ohm", 1, 3),
    scaled("MOhm", "Ohm", 1, 6),
    base("C"),
    scaled("Ah", "C", 3600, 0),
    scaled("mAh", "C", 36, -1),
    base("F"),
    scaled("uF", "F", 1, -6),
    base("S/m"),
    scaled("uS/cm", "S/m", 1, -4),
    scaled("mS/cm", "S/m", 1, -1),
    // Power, energy
    base("W"),
    scaled("mW", "W", 1, -3),
    scaled("kW", "W", 1, 3),
    scaled("MW", "W", 1, 6),
    base("J"),
    scaled("kJ", "J", 1, 3),
    scaled("MJ", "J", 1, 6),
    scaled("Wh", "J", 3600, 0),
    scaled("kWh", "J", 36, 5),
    scaled("MWh", "J", 36, 8),
    base("VA"),
    scaled("kVA", "VA", 1, 3),
    base("VAs"),
    scaled("kVAh", "VAs", 36, 5),
    base("var"),
    scaled("kvar", "var", 1, 3),
    base("vars"),
    scaled("varh", "vars", 3600, 0),
    scaled("kvarh", "vars", 36, 5),
    base("J/m"),
    scaled("Wh/km", "J/m", 36, -1),
    base("dBW"),
    Unit { shift: (-30, 0), ..scaled("dBm", "dBW", 1, 0) },
    // Data
    base("B"),
    scaled("KiB", "B", 1024, 0),
    scaled("MB", "B", 1, 6),
    scaled("GB", "B", 1, 9),
    base("bit/s"),
    scaled("kbit/s", "bit/s", 1, 3),
    scaled("Mbit/s", "bit/s", 1, 6),
    scaled("B/s", "bit/s", 8, 0),
    scaled("MB/s", "bit/s", 8, 6),
    // Ratios
    base("/"),
    scaled("%", "/", 1, -2),
    scaled("/100", "/", 1, -2),
    scaled("/1000", "/", 1, -3),
    scaled("ppm", "/", 1, -6),
    scaled("ppb", "/", 1, -9),
];

/// Every unit that can be converted.
pub(crate) fn known_units() -> impl Iterator<Item = &'static str> {
    UNITS.iter().map(|unit| unit.name)
}

fn find(name: &str) -> Option<&'static Unit> {
    UNITS.iter().find(|unit| unit.name == name)
}

fn number((mantissa, exponent): Decimal) -> Option<Number> {
    Number::from_decimal(mantissa.into(), exponent)
}

impl Conversion {
    /// From a unit to another one of the same base.
    pub(crate) fn new(from: &str, to: &str) -> Option<Self> {
        let (from, to) = (find(from)?, find(to)?);
        if from.base != to.base {
            return None;
        }
        Some(Self {
            before: number(from.shift)?,
            times: number(from.times)?.checked_mul(number(to.per)?)?,
            per: number(from.per)?.checked_mul(number(to.times)?)?,
            after: number(to.shift)?.negated(),
        })
    }

    /// The value in the other unit, without zeros at its end; `None` where it is too large.
    pub(crate) fn apply(self, value: Number) -> Option<Number> {
        let scaled = value.checked_add(self.before)?.checked_mul(self.times)?;
        Some(scaled.checked_div(self.per)?.checked_add(self.after)?.trimmed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(value: &str, from: &str, to: &str) -> String {
        let conversion = Conversion::new(from, to).unwrap_or_else(|| panic!("{from} to {to}"));
        conversion.apply(value.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn conversions_are_exact() {
        for (value, from, to, expected) in [
            ("21.5", "Cel", "degF", "70.7"),
            ("-40", "degF", "Cel", "-40"),
            ("71.3", "degF", "Cel", "21.833333333333"),
            ("0", "K", "Cel", "-273.15"),
            ("1013.25", "hPa", "Pa", "101325"),
            ("1013.25", "mbar", "bar", "1.01325"),
            ("36", "km/h", "m/s", "10"),
            ("100", "km/h", "m/s", "27.7777777777778"),
            ("10", "m/s", "km/h", "36"),
            ("1.5", "kWh", "J", "5400000"),
            ("5400000", "J", "kWh", "1.5"),
            ("0.1", "kWh", "Wh", "100"),
            ("3300", "mV", "V", "3.3"),
            ("-70", "dBm", "dBW", "-100"),
            ("450", "ppm", "%", "0.045"),
            ("1", "mi", "km", "1.609344"),
            ("12345678901234567", "ug/m3", "mg/m3", "12345678901234.567"),
            ("1", "in", "cm", "2.54"),
        ] {
            assert_eq!(convert(value, from, to), expected, "{value} {from} in {to}");
        }
    }

    /// RFC 8798 §3.
    #[test]
    fn secondary_units_have_the_scale_and_offset_of_the_registry() {
        for (name, base, scale, offset) in [
            ("ms", "s", 1.0 / 1000.0, 0.0),
            ("min", "s", 60.0, 0.0),
            ("h", "s", 3600.0, 0.0),
            ("MHz", "Hz", 1e6, 0.0),
            ("kW", "W", 1e3, 0.0),
            ("kVA", "VA", 1e3, 0.0),
            ("kvar", "var", 1e3, 0.0),
            ("Ah", "C", 3600.0, 0.0),
            ("Wh", "J", 3600.0, 0.0),
            ("kWh", "J", 3_600_000.0, 0.0),
            ("varh", "vars", 3600.0, 0.0),
            ("kvarh", "vars", 3_600_000.0, 0.0),
            ("kVAh", "VAs", 3_600_000.0, 0.0),
            ("Wh/km", "J/m", 3.6, 0.0),
            ("KiB", "B", 1024.0, 0.0),
            ("GB", "B", 1e9, 0.0),
            ("Mbit/s", "bit/s", 1e6, 0.0),
            ("B/s", "bit/s", 8.0, 0.0),
            ("MB/s", "bit/s", 8e6, 0.0),
            ("mV", "V", 1.0 / 1000.0, 0.0),
            ("mA", "A", 1.0 / 1000.0, 0.0),
            ("dBm", "dBW", 1.0, -30.0),
            ("ug/m3", "kg/m3", 1e-9, 0.0),
            ("mm/h", "m/s", 1.0 / 3_600_000.0, 0.0),
            ("m/h", "m/s", 1.0 / 3600.0, 0.0),
            ("ppm", "/", 1e-6, 0.0),
            ("/100", "/", 1.0 / 100.0, 0.0),
            ("/1000", "/", 1.0 / 1000.0, 0.0),
            ("hPa", "Pa", 100.0, 0.0),
            ("mm", "m", 1.0 / 1000.0, 0.0),
            ("cm", "m", 1.0 / 100.0, 0.0),
            ("km", "m", 1000.0, 0.0),
            ("km/h", "m/s", 1.0 / 3.6, 0.0),
        ] {
            let value = convert("7.5", name, base).parse::<f64>().unwrap();
            let expected = 7.5 * scale + offset;
            assert!((value - expected).abs() <= expected.abs() * 1e-14, "{name}: {value}");
        }
    }

    #[test]
    fn every_unit_converts_to_its_base_and_back() {
        let value: Number = "12.5".parse().unwrap();
        for unit in UNITS {
            let there = Conversion::new(unit.name, unit.base).unwrap().apply(value).unwrap();
            let back = Conversion::new(unit.base, unit.name).unwrap().apply(there).unwrap();
            assert!((back.as_f64() - 12.5).abs() < 1e-11, "{}: {back}", unit.name);
            assert_eq!(UNITS.iter().filter(|other| other.name == unit.name).count(), 1);
        }
    }

    #[test]
    fn units_of_different_kinds_do_not_become_one_another() {
        for (from, to) in [("Ah", "Wh"), ("%", "%RH"), ("Cel", "Pa"), ("x", "K")] {
            assert_eq!(Conversion::new(from, to), None);
        }
    }
}
