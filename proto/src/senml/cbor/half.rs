//! Half-precision floats (IEEE 754 binary16; RFC 8949 §3.3): a sign bit, five bits of exponent with
//! a bias of 15, ten bits of fraction.

/// The value of these bits, infinities and NaN included.
pub fn widen(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match i32::from(bits >> 10 & 0x1f) {
        0 => fraction * power_of_two(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        exponent => (1024.0 + fraction) * power_of_two(exponent - 25),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// The bits of exactly this value, if a half can hold it.
pub(super) fn narrow(value: f64) -> Option<u16> {
    let bits = value.to_bits();
    let sign = u16::try_from(bits >> 48 & 0x8000).ok()?;
    if value == 0.0 {
        return Some(sign);
    }
    let exponent = i32::try_from(bits >> 52 & 0x7ff).ok()? - 1023;
    if !(-24..=15).contains(&exponent) {
        return None;
    }
    // Of 53 bits, a half keeps 11, and below 2^-14 one fewer for each power of two.
    let dropped = 42 + u32::try_from(-14 - exponent).unwrap_or(0);
    let significand = 1 << 52 | bits & ((1 << 52) - 1);
    if significand.trailing_zeros() < dropped {
        return None;
    }
    let kept = u16::try_from(significand >> dropped).ok()?;
    // The leading bit of a normal number adds the last one to the exponent.
    let exponent = u16::try_from(exponent + 14).unwrap_or(0);
    Some(sign | ((exponent << 10) + kept))
}

/// 2^`exponent` for the exponent of a normal double.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(u64::try_from(exponent + 1023).unwrap_or(0) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8949 Appendix A.
    const VECTORS: [(u16, f64); 10] = [
        (0x0000, 0.0),
        (0x8000, -0.0),
        (0x3c00, 1.0),
        (0x3e00, 1.5),
        (0x7bff, 65504.0),
        (0x0001, 5.960_464_477_539_063e-8),
        (0x0400, 0.000_061_035_156_25),
        (0xc400, -4.0),
        (0x7c00, f64::INFINITY),
        (0xfc00, f64::NEG_INFINITY),
    ];

    #[test]
    fn vectors_of_rfc_8949_appendix_a() {
        for (bits, value) in VECTORS {
            assert_eq!(widen(bits).to_bits(), value.to_bits(), "{bits:#x}");
            assert_eq!(narrow(value), value.is_finite().then_some(bits), "{value}");
        }
        assert!(widen(0x7e00).is_nan());
        assert_eq!(narrow(f64::NAN), None);
    }

    #[test]
    fn every_finite_half_comes_back() {
        for bits in 0..=u16::MAX {
            let value = widen(bits);
            assert_eq!(narrow(value), value.is_finite().then_some(bits), "{bits:#x}");
        }
    }

    #[test]
    fn values_between_or_beyond_halves_have_none() {
        for value in [0.1, 65505.0, 65536.0, 2049.0, 2.0_f64.powi(-25), 1.5 * 2.0_f64.powi(-24)] {
            assert_eq!(narrow(value), None, "{value}");
        }
    }
}
