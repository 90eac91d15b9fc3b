//! The daemon as a library: everything `agentd` does, so that tests can run it in process.

pub mod domain;
pub mod store;
pub mod tools;
pub mod workspace;
pub mod model;
