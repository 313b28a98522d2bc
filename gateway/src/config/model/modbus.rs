//! Modbus: a bus, its units and their registers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) use device_sim::settings::{RegisterOrder, RegisterTable, RegisterType};
use proto::modbus::{Format, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{self, Code, Decimal, HostPort, Id, Interval};
use super::{DataBits, Parity, Rs485, SerialLink, StopBits};

/// Symbols a second where nothing says them ("MODBUS over Serial Line" V1.02 §3.2).
const DEFAULT_BAUD: u32 = 19_200;

/// A Modbus master.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ModbusLink {
    /// Modbus TCP, to this host and port: a device, or a converter with a bus behind it.
    #[serde(default)]
    pub(crate) tcp: Option<HostPort>,
    /// RTU frames over TCP, as a converter passes them on that does not know Modbus.
    #[serde(default)]
    pub(crate) rtu_over_tcp: Option<HostPort>,
    /// RTU on a serial port, by a name that stays: `/dev/serial/by-id/…`.
    #[serde(default, deserialize_with = "values::path_option")]
    pub(crate) serial: Option<PathBuf>,
    /// Symbols a second on the port, 50 to 4000000. Without it 19200, which is the default of the
    /// standard, as is that of `parity`; many devices use 9600 without parity.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 50, 4_000_000>")]
    #[schemars(range(min = 50, max = 4_000_000))]
    pub(crate) baud: Option<u32>,
    /// Parity bit of a character on the port; `even` without it.
    #[serde(default)]
    pub(crate) parity: Option<Parity>,
    /// Stop bits on the port: 1 or 2, and 1 without it. The standard wants 2 where there is no
    /// parity, devices mostly 1.
    #[serde(default)]
    pub(crate) stop_bits: Option<StopBits>,
    /// Half-duplex RS-485 on a port whose driver switches the transmitter by RTS, as for a serial
    /// link.
    #[serde(default)]
    pub(crate) rs485: Option<Rs485>,
    /// How long a unit may take to answer, 10ms to 60000ms; on a port the time of the characters
    /// comes on top. A unit can have its own.
    #[serde(default = "default_timeout", deserialize_with = "values::span_ms::<_, 10, 60_000>")]
    pub(crate) timeout: Interval,
    /// The longest rest of a unit that does not answer, and the longest pause between two attempts
    /// to connect: 1s to 1h. A rest begins with the timeout and doubles.
    #[serde(default = "default_max_backoff", deserialize_with = "values::span::<_, 1, 3600>")]
    pub(crate) max_backoff: Interval,
}

/// Where a bus is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BusPlace<'a> {
    /// Modbus TCP.
    Tcp(&'a HostPort),
    /// RTU over TCP.
    Tunnel(&'a HostPort),
    /// RTU on a port.
    Serial(&'a Path),
}

/// A unit of a bus: a device, or a part of one.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ModbusUnit {
    /// Name of the device; the source and the unit, such as `meter-1`, where there is none.
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) device: Option<String>,
    /// Time between two reads of a register that says nothing else: 10ms to 86400000ms.
    #[serde(
        default = "default_interval",
        deserialize_with = "values::span_ms::<_, 10, 86_400_000>"
    )]
    pub(crate) interval: Interval,
    /// How long it may take to answer, 10ms to 60000ms, where that is not the link's `timeout`.
    #[serde(default, deserialize_with = "values::span_ms_option::<_, 10, 60_000>")]
    pub(crate) timeout: Option<Interval>,
    /// The order of its registers that say nothing else.
    #[serde(default)]
    pub(crate) order: RegisterOrder,
    /// Most registers that one request reads, 1 to 125; of coils 16 times as many. Registers of one
    /// table and interval that lie together are read at once.
    #[serde(default = "default_max_read", deserialize_with = "values::whole::<_, _, 1, 125>")]
    #[schemars(range(min = 1, max = 125))]
    pub(crate) max_read: u16,
    /// Most registers between two wanted ones that are read along, 0 to 124, to save a request. 0
    /// reads none: many devices refuse a request with a register in it that they do not have. What
    /// is refused is read one by one.
    #[serde(default, deserialize_with = "values::whole::<_, _, 0, 124>")]
    #[schemars(range(max = 124))]
    pub(crate) max_gap: u16,
    /// What is read, by name.
    #[serde(default)]
    pub(crate) registers: BTreeMap<Id, Register>,
}

/// A value of a unit.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Register {
    /// Its first address as it is sent, 0 to 65535. A manual that says 40001 or 30001 means 0 of
    /// the holding or the input registers.
    #[serde(deserialize_with = "values::whole::<_, _, 0, 65_535>")]
    #[schemars(range(max = 65_535))]
    pub(crate) at: u16,
    /// The table that it is in.
    #[serde(default)]
    pub(crate) table: RegisterTable,
    /// What it holds; without it `u16`, or `bool` in a table of bits and with `bit`.
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<RegisterType>,
    /// The bit of the register that is wanted, 0 to 15; 0 is the lowest.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 0, 15>")]
    #[schemars(range(max = 15))]
    pub(crate) bit: Option<u8>,
    /// Registers of a `string`, 1 to 125.
    #[serde(default, deserialize_with = "values::whole_option::<_, _, 1, 125>")]
    #[schemars(range(min = 1, max = 125))]
    pub(crate) length: Option<u16>,
    /// The order of its bytes, where it is not that of the unit.
    #[serde(default)]
    pub(crate) order: Option<RegisterOrder>,
    /// What the number is multiplied with, such as `0.1`.
    #[serde(default)]
    pub(crate) scale: Option<Decimal>,
    /// What is added then.
    #[serde(default)]
    pub(crate) offset: Option<Decimal>,
    /// Unit of the value, such as `"V"`.
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) unit: Option<String>,
    /// What integers mean, such as `{ 0 = "off", 1 = "on" }`: the reading is the text, and another
    /// integer is its digits.
    #[serde(default)]
    pub(crate) values: BTreeMap<Code, String>,
    /// Time between two reads, 10ms to 86400000ms, where it is not that of the unit.
    #[serde(default, deserialize_with = "values::span_ms_option::<_, 10, 86_400_000>")]
    pub(crate) interval: Option<Interval>,
    /// Name of the reading, where it is not that of the table.
    #[serde(default, deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) name: Option<String>,
}

impl ModbusLink {
    /// Where the bus is; `None` where nothing says it.
    pub(crate) fn place(&self) -> Option<BusPlace<'_>> {
        let tcp = self.tcp.as_ref().map(BusPlace::Tcp);
        let tunnel = || self.rtu_over_tcp.as_ref().map(BusPlace::Tunnel);
        tcp.or_else(tunnel).or_else(|| self.serial.as_deref().map(BusPlace::Serial))
    }

    /// The port of the bus, opened as any other; characters of RTU have eight bits.
    pub(crate) fn port(&self, path: &Path) -> SerialLink {
        SerialLink {
            path: path.to_owned(),
            baud: self.baud.unwrap_or(DEFAULT_BAUD),
            data_bits: DataBits::Eight,
            parity: self.parity.unwrap_or(Parity::Even),
            stop_bits: self.stop_bits.unwrap_or_default(),
            open_delay: Interval::default(),
            rs485: self.rs485.clone(),
            poll: None,
        }
    }
}

impl Register {
    /// The table it is in.
    pub(crate) const fn table(&self) -> Table {
        self.table.table()
    }

    /// What it holds; `None` where its keys contradict each other.
    pub(crate) fn format(&self) -> Option<Format> {
        let is_bits = self.table().is_bits();
        match (self.kind, self.bit, self.length) {
            (None | Some(RegisterType::Bool), None, None) if is_bits => Some(Format::Bool),
            (None | Some(RegisterType::Bool), Some(bit), None) if !is_bits => {
                Some(Format::Bit(bit))
            }
            (Some(RegisterType::String), None, Some(length)) if !is_bits => {
                Some(Format::Text(length))
            }
            (kind, None, None) if !is_bits => kind.unwrap_or(RegisterType::U16).number(),
            _ => None,
        }
    }
}

const fn default_timeout() -> Interval {
    Interval::millis(500)
}

const fn default_max_backoff() -> Interval {
    Interval::seconds(60)
}

const fn default_interval() -> Interval {
    Interval::seconds(10)
}

const fn default_max_read() -> u16 {
    125
}
