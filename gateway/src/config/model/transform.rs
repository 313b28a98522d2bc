//! What a route does to its readings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{self, Decimal};

/// Another unit, or another scale.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Convert {
    /// Unit that the value gets. Alone it converts the value from the unit that it has; with `scale` or
    /// `offset` it only names what comes out.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) unit: Option<String>,
    /// Unit of readings that come without one.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) from: Option<String>,
    /// Factor, before `offset`.
    pub(crate) scale: Option<Decimal>,
    /// What is added.
    pub(crate) offset: Option<Decimal>,
}
