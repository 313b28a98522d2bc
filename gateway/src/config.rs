//! What the operator wants: layers of text become one checked [`Config`](model::Config).

mod model;
mod values;

pub(crate) use model::*;
pub(crate) use values::*;
