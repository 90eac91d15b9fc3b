//! Owns: the words of the product as Rust types, and the pure rules over them.
//! Guarantees: imports nothing of ours and no runtime, wire, disk or provider crate.

pub mod approval;
mod approvals;
pub mod budget;
pub mod command;
pub mod context;
pub mod decide;
pub mod event;
pub mod find;
pub mod heard;
pub mod id;
pub mod latency;
pub mod limits;
pub mod message;
pub mod network;
pub mod persona;
pub mod picture;
pub mod policy;
pub mod principal;
pub mod proxy;
mod queue;
pub mod reach;
pub mod redaction;
pub mod registries;
pub mod rejection;
pub mod secret;
pub mod secret_files;
pub mod session;
pub mod standing;
pub mod summary;
pub mod task;
pub mod tool;
pub mod turn;
pub mod usage;
pub mod workspace;
