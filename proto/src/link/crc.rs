//! CRC-16/IBM-SDLC, also known as X-25: reflected polynomial 0x1021, all ones in and out.

/// The polynomial with its bits reversed.
const POLYNOMIAL: u16 = 0x8408;

/// The checksum of `bytes`.
pub(super) fn crc(bytes: &[u8]) -> u16 {
    let step = |crc: u16, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u16::from(byte), step))
}

#[cfg(test)]
mod tests {
    /// The check value of the catalogue of parametrised CRC algorithms (Cook).
    #[test]
    fn the_check_value_is_that_of_the_catalogue() {
        assert_eq!(super::crc(b"123456789"), 0x906e);
    }
}
