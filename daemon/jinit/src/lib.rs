//! Owns: the words jinit and the daemon say to each other, and the names of the files they share.
//! Guarantees: no tokio, no serde; one definition for both ends; the first frame carries the protocol version.

pub mod names;
pub mod wire;
