//! Owns: `agentctl files`: a session's files, listed, read, written and edited.
//! Guarantees: bytes pass through unchanged; an edit that somebody overtook is refused and kept in a file of its own.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use agentd_proto::pb::write_file_request::Expect;
use agentd_proto::{escape, format, id, pb};
use serde_json::json;

use super::config;
use crate::args::{FilesPut, FilesVerb};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::table::{self, Column, fixed, flexible};
use crate::stdin;

/// The most that can be written at once.
const MAX_FILE: u64 = 32 << 20;

const COLUMNS: &[Column] = &[fixed("KIND", 9), fixed("SIZE", 9), flexible("NAME", 1, 12)];

/// Runs the verb.
pub(crate) async fn run(context: &Context, verb: FilesVerb) -> Result<u8, Failure> {
    match verb {
        FilesVerb::Ls {
            target,
            mut paths,
            limit,
        } => {
            if paths.is_empty() {
                paths.push(PathBuf::new());
            }
            let session = context.session(&target).await?.session_id;
            list(context, &session, &paths, limit).await
        }
        FilesVerb::Cat { target, paths } => {
            let session = context.session(&target).await?.session_id;
            for path in &paths {
                cat(context, &session, path).await?;
            }
            Ok(exit::OK)
        }
        FilesVerb::Put(args) => put(context, args).await,
        FilesVerb::Edit {
            target,
            path,
            protected,
        } => {
            let session = context.session(&target).await?.session_id;
            edit(context, session, path, protected).await
        }
    }
}

fn wire(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

fn shown(bytes: &[u8]) -> String {
    escape::line(&String::from_utf8_lossy(bytes))
}

async fn list(context: &Context, session: &str, paths: &[PathBuf], limit: u32) -> Result<u8, Failure> {
    let mut values = Vec::new();
    for path in paths {
        let mut after = Vec::new();
        let mut left = limit;
        let mut rows = Vec::new();
        loop {
            let request = pb::ListFilesRequest {
                session_id: session.to_owned(),
                path: wire(path),
                page_size: left.min(10_000),
                after_name: after,
            };
            let page = context.client.list_files(request).await?;
            for entry in &page.entries {
                let kind = kind(entry.kind());
                let file = entry.kind() == pb::FileKind::File;
                let size = if file {
                    format::bytes(entry.size_bytes)
                } else {
                    String::new()
                };
                rows.push(vec![kind.to_owned(), size, shown(&entry.name)]);
                values.push(json!({"dir": String::from_utf8_lossy(&page.path),
                    "name": String::from_utf8_lossy(&entry.name), "kind": kind,
                    "size_bytes": file.then_some(entry.size_bytes)}));
            }
            left = left.saturating_sub(u32::try_from(page.entries.len()).unwrap_or(u32::MAX));
            after = page
                .entries
                .last()
                .map(|entry| entry.name.clone())
                .unwrap_or_default();
            if left == 0 || !page.more || after.is_empty() {
                if page.more && !context.out.is_json() {
                    context
                        .out
                        .note(&format!("the first {limit} of {} names", page.total));
                }
                break;
            }
        }
        if !context.out.is_json() {
            if paths.len() > 1 {
                context.out.note(&format!("{}:", shown(&wire(path))));
            }
            table::print(&context.out, COLUMNS, &rows)?;
        }
    }
    if context.out.is_json() {
        context.out.json_list(values)?;
    }
    Ok(exit::OK)
}

fn kind(kind: pb::FileKind) -> &'static str {
    match kind {
        pb::FileKind::File => "file",
        pb::FileKind::Directory => "directory",
        pb::FileKind::Symlink => "symlink",
        pb::FileKind::Other | pb::FileKind::Unspecified => "other",
    }
}

/// A file that was read.
struct Read {
    info: pb::FileInfo,
    etag: String,
}

/// Reads a file piece by piece.
async fn read(
    context: &Context,
    session: &str,
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<Read, Failure> {
    let request = pb::ReadFileRequest {
        session_id: session.to_owned(),
        path: wire(path),
        ..Default::default()
    };
    let mut pieces = context.client.read_file(request).await?;
    let mut read = Read {
        info: pb::FileInfo::default(),
        etag: String::new(),
    };
    while let Some(piece) = pieces.next().await? {
        if let Some(info) = piece.info {
            read.info = info;
        }
        take(&piece.data)?;
        if !piece.etag.is_empty() {
            read.etag = piece.etag;
        }
    }
    Ok(read)
}

async fn cat(context: &Context, session: &str, path: &Path) -> Result<(), Failure> {
    if !context.out.is_json() {
        read(context, session, path, |data| context.out.bytes(data)).await?;
        return Ok(());
    }
    let mut all = Vec::new();
    let file = read(context, session, path, |data| {
        if all.len() + data.len() > MAX_FILE as usize {
            return Err(Failure::usage("the file has more than 32 MiB, too many for JSON")
                .next("agentctl files cat S PATH > FILE"));
        }
        all.extend_from_slice(data);
        Ok(())
    })
    .await?;
    // Text where it is text; else the bytes by their numbers, which loses none.
    let text = std::str::from_utf8(&all).ok();
    context.out.json(&json!({
        "path": String::from_utf8_lossy(&file.info.path), "size_bytes": file.info.size_bytes,
        "mode": format!("{:04o}", file.info.mode), "protected": file.info.protected_why,
        "etag": file.etag, "text": text, "bytes": text.is_none().then_some(&all),
    }))
}

async fn put(context: &Context, args: FilesPut) -> Result<u8, Failure> {
    let session = context.session(&args.target).await?.session_id;
    let too_long =
        || Failure::usage("the content has more than 32 MiB").next("agentctl exec --stdin -- 'cat > FILE'");
    let data = match args.from.as_deref().filter(|from| *from != Path::new("-")) {
        Some(from) => {
            let failed =
                |error: std::io::Error| Failure::usage(format!("cannot read '{}': {error}", from.display()));
            if std::fs::metadata(from).map_err(failed)?.len() > MAX_FILE {
                return Err(too_long());
            }
            std::fs::read(from).map_err(failed)?
        }
        None if stdin::is_terminal() => {
            return Err(Failure::usage("no content: name a file, or pipe it in")
                .next("agentctl files put S PATH FILE"));
        }
        None => stdin::read_all(MAX_FILE).await?.ok_or_else(too_long)?,
    };
    let expect = match (args.etag, args.force) {
        (Some(etag), _) => Expect::ExpectedEtag(etag),
        (None, true) => Expect::Any(true),
        (None, false) => Expect::Absent(true),
    };
    let exists = matches!(expect, Expect::Absent(_));
    let wrote = write(context, session, &args.path, data, expect, args.protected).await;
    let wrote = wrote.map_err(|mut failure| {
        if exists && failure.code == "file_changed" {
            failure.next = vec![
                "agentctl files put --force …   (replaces it)".to_owned(),
                "agentctl files put --etag E …  (replaces the one you have read)".to_owned(),
            ];
        }
        failure
    })?;
    report(context, &wrote)?;
    Ok(exit::OK)
}

async fn write(
    context: &Context,
    session_id: String,
    path: &Path,
    data: Vec<u8>,
    expect: Expect,
    allow_protected: bool,
) -> Result<pb::WriteFileResponse, Failure> {
    let request = pb::WriteFileRequest {
        request_id: id::request_id(),
        session_id,
        path: wire(path),
        data: data.into(),
        expect: Some(expect),
        allow_protected,
    };
    Ok(context.client.write_file(request).await?)
}

fn report(context: &Context, wrote: &pb::WriteFileResponse) -> Result<(), Failure> {
    if context.out.is_json() {
        return context.out.json(
            &json!({"path": String::from_utf8_lossy(&wrote.path), "etag": wrote.etag,
            "written": wrote.written, "created": wrote.created, "seq": wrote.seq}),
        );
    }
    let what = match (wrote.written, wrote.created) {
        (false, _) => "unchanged",
        (true, true) => "created",
        (true, false) => "written",
    };
    context.out.note(&format!("{what}: {}", shown(&wrote.path)));
    Ok(())
}

async fn edit(context: &Context, session: String, path: PathBuf, protected: bool) -> Result<u8, Failure> {
    let mut old = Vec::new();
    let collected = read(context, &session, &path, |data| {
        if old.len() + data.len() > MAX_FILE as usize {
            return Err(
                Failure::usage("the file has more than 32 MiB").next("agentctl files cat S PATH > FILE")
            );
        }
        old.extend_from_slice(data);
        Ok(())
    })
    .await;
    let expect = match collected {
        Ok(file) if file.info.protected_why.is_empty() || protected => Expect::ExpectedEtag(file.etag),
        Ok(file) => {
            let message = format!("{} is protected: {}", path.display(), file.info.protected_why);
            return Err(Failure::new(exit::FAILED, "file_protected", message)
                .next("agentctl files edit --protected …"));
        }
        Err(failure) if failure.code == "file_not_found" => Expect::Absent(true),
        Err(failure) => return Err(failure),
    };
    // An editor knows the language by the name.
    let name = path.file_name().unwrap_or(OsStr::new("file")).to_owned();
    let dir = tempdir().map_err(own)?;
    let copy = dir.join(name);
    std::fs::File::create_new(&copy)
        .and_then(|mut file| file.write_all(&old))
        .map_err(own)?;
    let clean = || {
        // What is left is a copy of what is in the session by now.
        let _left = std::fs::remove_file(&copy).and_then(|()| std::fs::remove_dir(&dir));
    };
    if let Err(mut failure) = config::open_editor(context, &copy, "agentctl files edit …") {
        clean();
        // The copy is gone: without an editor of its own the file is read and put back.
        if failure.exit == exit::USAGE {
            let name = path.display();
            failure.next = vec![
                format!("agentctl files cat {session} {name} > FILE"),
                format!("agentctl files put --force {session} {name} FILE"),
            ];
        }
        return Err(failure);
    }
    let new = std::fs::read(&copy).map_err(own)?;
    if new == old {
        clean();
        context.out.note("unchanged");
        return Ok(exit::OK);
    }
    match write(context, session, &path, new, expect, protected).await {
        Ok(wrote) => {
            clean();
            report(context, &wrote)?;
            Ok(exit::OK)
        }
        Err(failure) => Err(failure.note(format!("your text is kept in {}", copy.display()))),
    }
}

fn own(error: std::io::Error) -> Failure {
    Failure::new(exit::FAILED, "local_file", format!("a temporary file: {error}"))
}

/// A new directory that only this user reads.
fn tempdir() -> std::io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let dir = std::env::temp_dir().join(format!("agentctl-{}", id::request_id()));
    std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
    Ok(dir)
}
