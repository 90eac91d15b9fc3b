//! The daemon as a library: everything `agentd` does, so that tests can run it in process.

pub mod domain;
pub mod jail;
pub mod shell;
