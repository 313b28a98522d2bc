//! What became of the readings of a fleet.

use std::collections::BTreeSet;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::via::Via;

/// Readings of a fleet, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// What its devices speak; those of all, for fleets that were added up.
    pub via: BTreeSet<Via>,
    /// How many devices.
    pub devices: u64,
    /// Measured; more than sent where devices were switched off or had no line.
    pub generated: u64,
    /// Written, or tried to.
    pub sent: u64,
    /// Acknowledged by the gateway; none where the protocol has no acknowledgement.
    pub acknowledged: u64,
    /// Refused by the gateway.
    pub refused: u64,
    /// Without an answer until the device gave up, or not written.
    pub unanswered: u64,
    /// Taken on their way by a fault that was asked for.
    pub injured: u64,
    /// Seen at the far end, once or more often.
    pub arrived: u64,
    /// Accepted and never seen.
    pub lost: u64,
    /// Arrived later than the scenario calls timely.
    pub late: u64,
    /// Seen again.
    pub duplicates: u64,
    /// Seen with another value than was sent.
    pub wrong_value: u64,
    /// Seen after a later one of the same device and name.
    pub out_of_order: u64,
}

impl Fleet {
    /// Whether its devices are told that a reading was taken.
    pub fn acknowledges(&self) -> bool {
        self.via.iter().any(|via| via.acknowledges())
    }
}

impl AddAssign<&Self> for Fleet {
    fn add_assign(&mut self, other: &Self) {
        self.via.extend(&other.via);
        let Self {
            via: _,
            devices,
            generated,
            sent,
            acknowledged,
            refused,
            unanswered,
            injured,
            arrived,
            lost,
            late,
            duplicates,
            wrong_value,
            out_of_order,
        } = self;
        for (sum, count) in [
            (devices, other.devices),
            (generated, other.generated),
            (sent, other.sent),
            (acknowledged, other.acknowledged),
            (refused, other.refused),
            (unanswered, other.unanswered),
            (injured, other.injured),
            (arrived, other.arrived),
            (lost, other.lost),
            (late, other.late),
            (duplicates, other.duplicates),
            (wrong_value, other.wrong_value),
            (out_of_order, other.out_of_order),
        ] {
            *sum = sum.saturating_add(count);
        }
    }
}
