//! The words on the wire (`agentd.v1`) and the one client that speaks them.
//! Guarantees: every Rust client and the daemon's own tests share this code; nothing here prints.

pub mod pb;
