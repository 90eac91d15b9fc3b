//! Owns: what a session did, on the wire.
//! Guarantees: outbound never fails.

use agentd_proto::pb;

use super::timestamp;
use crate::domain::event::ChangeKind;
use crate::supervisor::Audit;

impl From<Audit> for pb::AuditSessionResponse {
    fn from(audit: Audit) -> Self {
        Self {
            commands: audit
                .commands
                .into_iter()
                .map(|command| pb::AuditedCommand {
                    seq: command.at.0,
                    time: Some(timestamp(command.at.1)),
                    script: command.script,
                    by_model: command.by_model,
                    exit_code: command.exit_code,
                })
                .collect(),
            files: audit
                .files
                .into_iter()
                .map(|file| pb::AuditedFile {
                    seq: file.at.0,
                    time: Some(timestamp(file.at.1)),
                    path: file.path,
                    change: match file.change {
                        ChangeKind::Created => "created",
                        ChangeKind::Modified => "modified",
                        ChangeKind::Deleted => "deleted",
                        ChangeKind::Renamed => "renamed",
                    }
                    .to_owned(),
                    added: file.lines.0,
                    removed: file.lines.1,
                    from: file.from,
                })
                .collect(),
            hosts: audit
                .hosts
                .into_iter()
                .map(|host| pb::AuditedHost {
                    seq: host.at.0,
                    time: Some(timestamp(host.at.1)),
                    host: format!("{}:{}", host.connection.host, host.connection.port),
                    allowed: host.connection.refusal.is_empty(),
                    sent_bytes: host.connection.sent_bytes,
                    received_bytes: host.connection.received_bytes,
                })
                .collect(),
            refusals: audit
                .refusals
                .into_iter()
                .map(|refusal| pb::AuditedRefusal {
                    seq: refusal.at.0,
                    time: Some(timestamp(refusal.at.1)),
                    what: refusal.what,
                    by: refusal.by,
                })
                .collect(),
            seq: audit.seq,
            head: audit.head,
        }
    }
}
