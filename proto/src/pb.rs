//! Owns: the code generated from `agentd/v1/*.proto`. The proto files are the reference manual.
#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::large_futures,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated code keeps its own style"
)]

tonic::include_proto!("agentd.v1");

/// The encoded `FileDescriptorSet` of the contract, for gRPC reflection.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agentd_descriptor.bin"));
