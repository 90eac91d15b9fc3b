//! The daemon as a library: everything `agentd` does, so that tests can run it in process.

pub mod args;
pub mod config;
pub mod credentials;
pub mod domain;
pub mod instance;
pub mod listener;
pub mod model;
pub mod paths;
pub mod shutdown;
pub mod telemetry;
