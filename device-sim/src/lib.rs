//! Simulated devices and a recording broker.
