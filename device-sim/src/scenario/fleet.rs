//! A fleet whose mistakes are out: which device has which name, seed, schedule and payload.

use std::sync::Arc;
use std::time::Duration;

use proto::link::Key;
use proto::{Instant, Rng, Timestamp};

use super::values::Numbered;
use crate::Via;
use crate::command::Obeys;
use crate::device::{Channel, Cycle, DeviceClock, DeviceConfig, Pace, Schedule};
use crate::modbus::Register;
use crate::payload::Payload;

/// Devices of one kind.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub(super) name: String,
    pub(super) count: u32,
    pub(super) id: Numbered,
    pub(super) via: Via,
    pub(super) channels: Vec<Channel>,
    pub(super) payload: Payload,
    pub(super) pace: Pace,
    pub(super) ramp: Option<Duration>,
    pub(super) churn: Option<Cycle>,
    pub(super) reboot: Option<Cycle>,
    /// How many reports each device sends; `None` without an end.
    pub(super) reports: Option<u64>,
    /// The first boot count, where reports are numbered.
    pub(super) epoch: Option<u32>,
    /// How much clocks are ahead, in nanoseconds.
    pub(super) skew: i64,
    pub(super) has_clock: bool,
    pub(super) resolution: Duration,
    pub(super) topic: String,
    pub(super) baud: u32,
    pub(super) first_node: u32,
    /// Where its channels are, in their order, over Modbus.
    pub(super) registers: Arc<[Register]>,
    /// What nodes of the link protocol make of commands.
    pub(super) obeys: Obeys,
    /// Keys of the link protocol by the number of the node.
    pub(super) keys: Vec<(u32, Key)>,
}

/// A device that is to be started.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The name of its fleet.
    pub fleet: String,
    /// Its number within it, from 1.
    pub number: u32,
    /// What it speaks.
    pub via: Via,
    /// What it is.
    pub device: DeviceConfig,
    /// How it writes its reports; not for the link protocol.
    pub payload: Payload,
    /// What its transport draws from.
    pub seed: u64,
    /// Where it publishes to, over MQTT.
    pub topic: String,
    /// The speed of its line.
    pub baud: u32,
    /// Its number and key, over the link protocol; its address, over Modbus.
    pub node: (u32, Option<Key>),
    /// Where its channels are, in their order, over Modbus.
    pub registers: Arc<[Register]>,
    /// What it makes of commands, over the link protocol.
    pub obeys: Obeys,
    /// How often it starts again, over the link protocol, which counts boots itself.
    pub restart_every: Option<Duration>,
}

impl Fleet {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many devices it has.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// How many readings its devices measure in all, if that has an end.
    pub fn readings(&self) -> Option<u64> {
        let channels = u64::try_from(self.channels.len()).unwrap_or(u64::MAX);
        let each = self.reports?.saturating_mul(channels);
        Some(each.saturating_mul(self.count.into()))
    }

    /// What they speak.
    pub const fn via(&self) -> Via {
        self.via
    }

    /// The name of the device with this number, from 1.
    pub fn id(&self, number: u32) -> String {
        self.id.fill(number)
    }

    /// The device with this index, from 0.
    pub(super) fn device(&self, seed: u64, index: u32, origin: Timestamp) -> Planned {
        let mut seeds = Rng::new(stream_seed(seed, &self.name, index));
        let from = match self.ramp {
            Some(over) => over * index / self.count.max(1),
            None => seeds.duration(Duration::ZERO, self.interval()),
        };
        let number = index.saturating_add(1);
        let is_link = self.via.is_link();
        let schedule = Schedule {
            from: Instant::ZERO + from,
            pace: self.pace,
            churn: self.churn,
            reboot: self.reboot.filter(|_| !is_link),
            reports: self.reports,
        };
        let origin = Timestamp::from_nanos(origin.as_nanos().saturating_add(self.skew));
        let clock = DeviceClock { origin, resolution: self.resolution, is_there: self.has_clock };
        let id = self.id(number);
        let node = self.first_node.saturating_add(index);
        let key = self.keys.binary_search_by_key(&node, |(node, _)| *node).ok();
        let key = key.and_then(|at| self.keys.get(at)).map(|(_, key)| key.clone());
        Planned {
            fleet: self.name.clone(),
            number,
            via: self.via,
            topic: self.topic.replace("{device}", &id),
            device: DeviceConfig {
                id,
                channels: self.channels.clone(),
                schedule,
                epoch: self.epoch,
                clock,
                seed: seeds.next_u64(),
            },
            payload: self.payload.clone(),
            seed: seeds.next_u64(),
            baud: self.baud,
            node: (node, key),
            registers: Arc::clone(&self.registers),
            obeys: self.obeys,
            restart_every: self.reboot.filter(|_| is_link).map(|cycle| cycle.up + cycle.down),
        }
    }

    /// From one report to the next, or one burst.
    fn interval(&self) -> Duration {
        match self.pace {
            Pace::Every { mean, .. } => mean,
            Pace::Burst { every, .. } => every,
            Pace::OnChange { look, .. } => look,
            Pace::Asked => Duration::ZERO,
        }
    }
}

/// Draws the seed of one of many from that of the scenario and the name of the many: a device and its fleet.
pub(crate) fn stream_seed(seed: u64, name: &str, index: u32) -> u64 {
    let mixed = |state: u64, more: u64| Rng::new(state ^ more).next_u64();
    let named = name.bytes().fold(mixed(seed, 0), |state, byte| mixed(state, byte.into()));
    mixed(named, index.into())
}
