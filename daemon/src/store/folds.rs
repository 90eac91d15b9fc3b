//! Owns: what a session is at an event of its log, kept so that a start does not read all of it.
//! Guarantees: the log is the truth: a fold is used only by the code that made it, goes with a redaction of the log and
//! with the session, and is never needed.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, StoreError};
use crate::domain::id::{Seq, SessionId};

/// The code that folds: another one may see something else in the same log.
const CODE: &str = env!("AGENTD_FOLD_CODE");

impl Store {
    /// Keeps a session's fold (JSON) of its log up to `seq`, in the place of the one before. The words of it are those of the log,
    /// redacted as they are there.
    pub async fn put_fold(&self, session_id: &SessionId, seq: Seq, fold: String) -> Result<(), StoreError> {
        let id = session_id.clone();
        // A session that was purged meanwhile stays gone, and so does what was taken out of its log; a newer one stays.
        self.writer
            .write(move |c| {
                // Zeroes where the one before was: what is purged later is gone from the file, too.
                c.pragma_update(None, "secure_delete", "ON")?;
                let put = c
                    .prepare_cached(
                        "INSERT OR REPLACE INTO folds (session_id, seq, code, fold)
                         SELECT session_id, ?2, ?3, ?4 FROM sessions WHERE session_id = ?1 AND NOT EXISTS
                           (SELECT 1 FROM events WHERE session_id = ?1 AND seq > ?2 AND kind = 'redacted')
                         AND NOT EXISTS (SELECT 1 FROM folds WHERE session_id = ?1 AND code = ?3 AND seq > ?2)",
                    )
                    .and_then(|mut put| put.execute(params![id.as_str(), seq, CODE, fold]));
                c.pragma_update(None, "secure_delete", "OFF")?;
                put?;
                Ok(())
            })
            .await
    }

    /// The kept fold (JSON) of a session; `None` where this code made none.
    pub async fn kept_fold(&self, session_id: &SessionId) -> Result<Option<Vec<u8>>, StoreError> {
        let id = session_id.clone();
        self.readers
            .read(move |c| {
                Ok(
                    c.prepare_cached("SELECT fold FROM folds WHERE session_id = ?1 AND code = ?2")?
                        // Whatever is there: the reader passes over what is no fold.
                        .query_row([id.as_str(), CODE], |row| {
                            Ok(row.get_ref(0)?.as_bytes().unwrap_or_default().to_vec())
                        })
                        .optional()?,
                )
            })
            .await
    }
}

/// Takes away a session's fold.
pub(super) fn forget(connection: &Connection, id: &SessionId) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM folds WHERE session_id = ?1")?
        .execute([id.as_str()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{append_all, notice, spec, store};
    use super::*;
    use crate::domain::event::EventBody;

    #[tokio::test]
    async fn what_is_taken_out_of_a_log_is_in_no_fold() {
        let dir = tempfile::tempdir().expect("dir");
        let store = store(dir.path());
        let (id, mut state) = (SessionId::random(), None);
        let begin = vec![EventBody::SessionCreated(spec("shop")), notice("a secret")];
        append_all(&store, &mut state, &id, begin)
            .await
            .expect("appended");
        store.put_fold(&id, 2, "old".into()).await.expect("kept");
        assert_eq!(
            store.kept_fold(&id).await.expect("reads").as_deref(),
            Some(&b"old"[..])
        );
        let redacted = EventBody::Redacted {
            seqs: vec![2],
            reason: String::new(),
        };
        append_all(&store, &mut state, &id, vec![redacted])
            .await
            .expect("appended");
        let rewrites = vec![(2, notice("a [redacted]"))];
        let of = id.clone();
        store
            .writer
            .write(move |c| super::super::lifecycle::rewrite(c, &of, &rewrites))
            .await
            .expect("rewritten");
        assert_eq!(store.kept_fold(&id).await.expect("reads"), None);
        // One that was on its way has the text still.
        store.put_fold(&id, 2, "old".into()).await.expect("passed over");
        assert_eq!(store.kept_fold(&id).await.expect("reads"), None);
        store.put_fold(&id, 3, "new".into()).await.expect("kept");
        store.put_fold(&id, 2, "late".into()).await.expect("passed over");
        assert_eq!(
            store.kept_fold(&id).await.expect("reads").as_deref(),
            Some(&b"new"[..])
        );
        store.purge(&id).await.expect("purged");
        store.put_fold(&id, 3, "new".into()).await.expect("passed over");
        assert_eq!(store.kept_fold(&id).await.expect("reads"), None);
    }
}
