//! Compiles the contract with protox (pure Rust: nobody needs a system protoc) and keeps its
//! descriptor for reflection.

use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir("agentd/v1")?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "proto"))
        .collect();
    files.sort();
    println!("cargo:rerun-if-changed=agentd/v1");
    let descriptors = protox::compile(&files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("agentd_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Ordered maps: the same request is the same bytes, so a retry is known for what it is.
        .btree_map(".")
        .bytes(".agentd.v1.OutputChunk.data")
        .bytes(".agentd.v1.TerminalScreen.data")
        .bytes(".agentd.v1.WriteInputRequest.data")
        .bytes(".agentd.v1.ReadFileResponse.data")
        .bytes(".agentd.v1.WriteFileRequest.data")
        .compile_fds(descriptors)?;
    Ok(())
}
