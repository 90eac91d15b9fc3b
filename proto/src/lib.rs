//! The words on the wire (`agentd.v1`) and the one client that speaks them.
//! Guarantees: every Rust client and the daemon's own tests share this code; nothing here prints.
#![warn(missing_docs)]

pub mod attach;
pub mod autostart;
pub mod budget;
pub mod client;
pub mod endpoint;
pub mod error;
pub mod escape;
pub mod format;
pub mod id;
pub mod lifecycle;
pub mod output;
pub mod pb;
pub mod resume;
pub mod surroundings;
pub mod task;
pub mod terminal;
pub mod transcript;
pub mod unit;
pub mod watch;

pub use client::{Client, Options};
pub use error::{Cause, ClientError};
