//! Owns: the words of the product as Rust types, and the pure rules over them.
//! Guarantees: imports nothing of ours and no runtime, wire, disk or provider crate.

pub mod id;
pub mod message;
pub mod secret;
pub mod tool;
pub mod usage;
