//! Owns: the words of the product as Rust types, and the pure rules over them.
//! Guarantees: imports nothing of ours and no runtime, wire, disk or provider crate.

pub mod approval;
mod approvals;
pub mod budget;
pub mod command;
pub mod decide;
pub mod event;
pub mod find;
pub mod id;
pub mod latency;
pub mod message;
pub mod persona;
pub mod policy;
pub mod principal;
mod queue;
pub mod redaction;
pub mod rejection;
pub mod secret;
pub mod session;
pub mod standing;
pub mod summary;
pub mod task;
pub mod tool;
pub mod usage;
pub mod workspace;
