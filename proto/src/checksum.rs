//! Checksums of frames, as sensors, meters and buses use them.
//!
//! The cyclic ones are those of the catalogue of parametrised CRC algorithms
//! (<https://reveng.sourceforge.io/crc-catalogue/all.htm>), whose check value over `123456789` the
//! tests repeat.

use crc::{
    CRC_16_ARC, CRC_16_IBM_3740, CRC_16_IBM_SDLC, CRC_16_MODBUS, CRC_16_XMODEM, CRC_32_ISO_HDLC,
    Crc,
};

/// A checksum over some bytes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// The sum modulo 256.
    Sum8,
    /// The two's complement of the sum: all bytes with it sum up to 0.
    Sum8Negated,
    /// The ones' complement of the sum: all bytes with it sum up to 255.
    Sum8Inverted,
    /// The sum modulo 65536.
    Sum16,
    /// All bytes combined by exclusive or.
    Xor8,
    /// CRC-16/MODBUS.
    Crc16Modbus,
    /// CRC-16/IBM-3740, which is also called CCITT-FALSE.
    Crc16Ccitt,
    /// CRC-16/XMODEM.
    Crc16Xmodem,
    /// CRC-16/IBM-SDLC, which is also called X-25: that of HDLC, PPP and SML.
    Crc16X25,
    /// CRC-16/ARC, that of DSMR.
    Crc16Arc,
    /// CRC-32/ISO-HDLC, that of Ethernet and zip.
    Crc32,
}

impl Checksum {
    /// The checksum of `bytes`.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> u32 {
        match self {
            Self::Sum8 => u32::from(sum(bytes)),
            Self::Sum8Negated => u32::from(sum(bytes).wrapping_neg()),
            Self::Sum8Inverted => u32::from(!sum(bytes)),
            Self::Sum16 => {
                bytes.iter().fold(0u32, |sum, byte| sum.wrapping_add((*byte).into())) & 0xffff
            }
            Self::Xor8 => u32::from(bytes.iter().fold(0, |all, byte| all ^ byte)),
            Self::Crc16Modbus => u32::from(MODBUS.checksum(bytes)),
            Self::Crc16Ccitt => u32::from(CCITT.checksum(bytes)),
            Self::Crc16Xmodem => u32::from(XMODEM.checksum(bytes)),
            Self::Crc16X25 => u32::from(X25.checksum(bytes)),
            Self::Crc16Arc => u32::from(ARC.checksum(bytes)),
            Self::Crc32 => ISO_HDLC.checksum(bytes),
        }
    }

    /// Bytes that it takes in a frame.
    #[must_use]
    pub const fn width(self) -> usize {
        match self {
            Self::Sum8 | Self::Sum8Negated | Self::Sum8Inverted | Self::Xor8 => 1,
            Self::Sum16
            | Self::Crc16Modbus
            | Self::Crc16Ccitt
            | Self::Crc16Xmodem
            | Self::Crc16X25
            | Self::Crc16Arc => 2,
            Self::Crc32 => 4,
        }
    }
}

static MODBUS: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);
static CCITT: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_3740);
static XMODEM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
static X25: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);
static ARC: Crc<u16> = Crc::<u16>::new(&CRC_16_ARC);
static ISO_HDLC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cyclic_checksums_have_the_check_values_of_the_catalogue() {
        for (checksum, expected) in [
            (Checksum::Crc16Modbus, 0x4b37),
            (Checksum::Crc16Ccitt, 0x29b1),
            (Checksum::Crc16Xmodem, 0x31c3),
            (Checksum::Crc16X25, 0x906e),
            (Checksum::Crc16Arc, 0xbb3d),
            (Checksum::Crc32, 0xcbf4_3926),
        ] {
            assert_eq!(checksum.of(b"123456789"), expected, "{checksum:?}");
        }
    }

    /// SDS011, MH-Z19 and PMS5003: the samples of their data sheets.
    #[test]
    fn sums_are_those_of_real_sensors() {
        let sds011 = [0xd4, 0x04, 0x3a, 0x0a, 0xa1, 0x60];
        assert_eq!(Checksum::Sum8.of(&sds011), 0x1d);
        let mh_z19 = [0x86, 0x02, 0x8a, 0x44, 0, 0, 0];
        assert_eq!(Checksum::Sum8Negated.of(&mh_z19), 0xaa);
        assert_eq!(Checksum::Sum8Inverted.of(&mh_z19), 0xa9);
        let pms5003 = [
            0x42, 0x4d, 0x00, 0x1c, 0x00, 0x02, 0x00, 0x0a, 0x00, 0x0a, 0x00, 0x02, 0x00, 0x0a,
            0x00, 0x0a, 0x02, 0x46, 0x00, 0xaf, 0x00, 0x31, 0x00, 0x16, 0x00, 0x00, 0x00, 0x00,
            0x97, 0x00,
        ];
        assert_eq!(Checksum::Sum16.of(&pms5003), 0x02ac);
    }

    /// NMEA 0183: the usual example, `*47`.
    #[test]
    fn exclusive_or_is_that_of_nmea() {
        let gga = b"GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,";
        assert_eq!(Checksum::Xor8.of(gga), 0x47);
    }
}
