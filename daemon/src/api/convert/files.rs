//! Owns: files, limits and a project's tools between wire and domain.

use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use agentd_proto::pb;

use super::super::status::invalid;
use crate::domain::limits::{AddedDir, Keeper, Limit, LimitsWish};
use crate::domain::rejection::Rejection;
use crate::session::{FileKind as Kind, FilePiece, FilesPage};
use crate::supervisor::Project;

/// Directories beside a workspace at most.
const MAX_ADDED: usize = 32;
/// The longest PATH that is taken.
const MAX_SEARCH_PATH: usize = 16 * 1024;

/// A part of a directory; `limit` is how many were asked for.
pub(in crate::api) fn page(page: FilesPage, limit: usize) -> pb::ListFilesResponse {
    let listing = page.listing;
    let more = listing.more || listing.entries.len() == limit;
    pb::ListFilesResponse {
        total: listing.total as u64,
        more,
        path: page.path,
        entries: listing
            .entries
            .into_iter()
            .map(|entry| pb::FileEntry {
                name: entry.name.into_vec(),
                kind: match entry.kind {
                    Kind::File => pb::FileKind::File,
                    Kind::Directory => pb::FileKind::Directory,
                    Kind::Symlink => pb::FileKind::Symlink,
                    Kind::Fifo | Kind::Socket | Kind::Device | Kind::Unknown => pb::FileKind::Other,
                }
                .into(),
                size_bytes: entry.size.unwrap_or(0),
            })
            .collect(),
    }
}

/// Something of a file.
pub(in crate::api) fn piece(piece: FilePiece) -> pb::ReadFileResponse {
    match piece {
        FilePiece::Info {
            path,
            size,
            mode,
            protected_why,
        } => pb::ReadFileResponse {
            info: Some(pb::FileInfo {
                path,
                size_bytes: size,
                mode,
                protected_why: protected_why.to_owned(),
            }),
            ..Default::default()
        },
        FilePiece::Bytes(data) => pb::ReadFileResponse {
            data,
            ..Default::default()
        },
        FilePiece::Etag(etag) => pb::ReadFileResponse {
            etag,
            ..Default::default()
        },
    }
}

impl From<Limit> for pb::SessionLimit {
    fn from(limit: Limit) -> Self {
        Self {
            limit: limit.name.to_owned(),
            value: limit.value.unwrap_or(0),
            text: limit.text(),
            keeper: match limit.keeper {
                Keeper::Nobody => pb::LimitKeeper::Unspecified,
                Keeper::Kernel => pb::LimitKeeper::Kernel,
                Keeper::Watch => pb::LimitKeeper::Watch,
            }
            .into(),
            note: limit.note,
        }
    }
}

impl From<Project> for pb::CheckProjectResponse {
    fn from(project: Project) -> Self {
        let shown = |paths: Vec<PathBuf>| paths.iter().map(|p| p.display().to_string()).collect();
        Self {
            tools: project
                .tools
                .into_iter()
                .map(|tool| pb::ToolVersion {
                    tool: tool.tool.to_owned(),
                    program: tool.program,
                    version: tool.version,
                })
                .collect(),
            toolchains: shown(project.toolchains),
            masked: shown(project.masked),
            search_path: shown(project.search_path),
            left_out: shown(project.left_out),
            limits: project.limits.into_iter().map(Into::into).collect(),
            init: project.init.map(|init| pb::ProjectInit {
                ran: init.ran,
                note: init.note,
            }),
        }
    }
}

/// Bounds asked for.
pub(in crate::api) fn limits_asked(wish: Option<pb::LimitsWish>) -> Result<LimitsWish, Rejection> {
    let wish = wish.unwrap_or_default();
    let some = |value: u64| Some(value).filter(|value| *value > 0);
    if wish.cpu_weight > 10_000 {
        return Err(invalid("limits.cpu_weight: 1 to 10000"));
    }
    if matches!(wish.processes, 1..16) {
        return Err(invalid("limits.processes: at least 16"));
    }
    if matches!(wish.memory_bytes, 1..0x100_0000) {
        return Err(invalid("limits.memory_bytes: at least 16 MiB"));
    }
    Ok(LimitsWish {
        memory: some(wish.memory_bytes),
        processes: some(wish.processes),
        cpu_weight: Some(wish.cpu_weight).filter(|weight| *weight > 0),
        file_size: some(wish.file_size_bytes),
        disk_growth: some(wish.disk_growth_bytes),
        session_time_ms: some(wish.session_time_ms),
    })
}

/// Directories beside the workspace.
pub(in crate::api) fn added_asked(dirs: Vec<pb::AddedDir>) -> Result<Vec<AddedDir>, Rejection> {
    if dirs.len() > MAX_ADDED {
        return Err(invalid("added_dirs: at most 32"));
    }
    dirs.into_iter()
        .map(|dir| {
            if !dir.path.starts_with('/') {
                return Err(invalid(format!(
                    "added_dirs: '{}' is not an absolute path",
                    dir.path
                )));
            }
            Ok(AddedDir {
                path: dir.path.into(),
                writable: dir.writable,
            })
        })
        .collect()
}

/// The maker's PATH.
pub(in crate::api) fn search_path_asked(text: String) -> Result<String, Rejection> {
    if text.len() > MAX_SEARCH_PATH || text.contains('\0') {
        return Err(invalid("search_path has more than 16 KiB, or a NUL"));
    }
    Ok(text)
}
