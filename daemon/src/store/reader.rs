//! Owns: the connections that only read.
//! Guarantees: a read sees a commit as soon as its write was answered; reads do not wait for the writer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{Semaphore, mpsc};

use super::{StoreError, schema};

/// Two processors is the machine we plan for: more readers would only wait for each other.
const READERS: usize = 2;

/// A small pool of read-only connections, used on blocking threads.
#[derive(Clone)]
pub(super) struct Readers {
    path: Arc<PathBuf>,
    idle: mpsc::Sender<Connection>,
    take: Arc<tokio::sync::Mutex<mpsc::Receiver<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let (idle, take) = mpsc::channel(READERS);
        for _ in 0..READERS {
            let connection = schema::open_reader(path)?;
            if idle.try_send(connection).is_err() {
                break;
            }
        }
        Ok(Self {
            path: Arc::new(path.to_owned()),
            idle,
            take: Arc::new(tokio::sync::Mutex::new(take)),
            permits: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Runs `work` on one of the connections.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let _permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let pooled = self.take.lock().await.try_recv().ok();
        let (path, idle) = (self.path.clone(), self.idle.clone());
        let joined = tokio::task::spawn_blocking(move || {
            // A connection is missing only when an earlier reader panicked with it in hand.
            let connection = match pooled {
                Some(connection) => connection,
                None => schema::open_reader(&path)?,
            };
            let result = work(&connection);
            // A full pool can't happen (one permit per connection); dropping one would only cost a reopen.
            let _reopened_later = idle.try_send(connection);
            result
        })
        .await;
        joined.unwrap_or(Err(StoreError::Closed))
    }
}
