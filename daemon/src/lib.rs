//! The daemon as a library: everything `agentd` does, so that tests can run it in process.
//!
//! A request flows right, a fact flows back: api -> supervisor -> session -> tools/shell/jail, model,
//! workspace, store -> domain. See docs/DESIGN.md for the map.

pub mod accounts;
pub mod api;
pub mod args;
pub mod board;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod daemon;
pub mod domain;
pub mod durable;
pub mod instance;
pub mod jail;
pub mod ledger;
pub mod listener;
pub mod model;
pub mod paths;
pub mod personas;
pub mod service;
pub mod session;
pub mod shell;
pub mod shutdown;
pub mod store;
pub mod supervisor;
pub mod survival;
pub mod telemetry;
pub mod tools;
pub mod workspace;
