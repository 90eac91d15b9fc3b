//! Owns: the boards that are open, the way to ask them, and the watch over their files and claims.
//! Guarantees: one change of a board at a time; an answered change is in the file and in the store; a hand edit is
//! seen within a second while a board is in use, and a board that nobody uses costs nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::claims::Wanted;
use super::commit;
use super::edit::Wish;
use super::state::{BoardState, board_refused};
use super::view::{BoardView, ClaimWish, EditWish, Holder, Keep, Refusal, Settings, TaskView};
use crate::clock::now_us;
use crate::domain::rejection::Rejection;
use crate::domain::session::{State, Summary};
use crate::domain::task::{Change, Conflict, Field, Fields, TaskId, TaskState};
use crate::store::{SessionFilter, Store, TaskCost, Twin};

/// Files are looked at this often: a hand edit must be seen within a second.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// A board that was not asked for so long is no longer looked at, unless somebody has a claim on it.
const IDLE_US: i64 = 600 * 1_000_000;
/// Longest lease.
const MAX_LEASE: Duration = Duration::from_secs(7 * 24 * 3600);

/// All boards. Cheap to clone.
#[derive(Clone)]
pub struct Boards(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Store,
    settings: Settings,
    open: Mutex<HashMap<PathBuf, Arc<Open>>>,
    changed: watch::Sender<u64>,
    /// Wakes the watch when the first board is opened.
    used: tokio::sync::Notify,
}

struct Open {
    state: Arc<Mutex<BoardState>>,
    asked_us: std::sync::atomic::AtomicI64,
}

impl Boards {
    /// No board is open yet.
    pub fn new(store: Store, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            store,
            settings,
            open: Mutex::default(),
            changed: watch::Sender::new(0),
            used: tokio::sync::Notify::new(),
        }))
    }

    /// Rings when any board changed.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The open boards, each with the number of its last change and the number of its problems.
    pub async fn heads(&self) -> Vec<(PathBuf, u64)> {
        let open: Vec<(PathBuf, Arc<Open>)> = self
            .0
            .open
            .lock()
            .await
            .iter()
            .map(|(path, open)| (path.clone(), open.clone()))
            .collect();
        let mut heads = Vec::with_capacity(open.len());
        for (path, board) in open {
            heads.push((path, board.state.lock().await.rev));
        }
        heads
    }

    /// The workspaces that have a board in the store.
    pub async fn workspaces(&self) -> Result<Vec<String>, Refusal> {
        Ok(self.0.store.board_workspaces().await?)
    }

    async fn open(&self, workspace: &Path) -> Result<Arc<Open>, Refusal> {
        let mut open = self.0.open.lock().await;
        if let Some(board) = open.get(workspace) {
            board
                .asked_us
                .store(now_us(), std::sync::atomic::Ordering::Relaxed);
            return Ok(board.clone());
        }
        if !workspace.is_dir() {
            return Err(Rejection::WorkspaceRefused {
                message: format!("{} is not a directory", workspace.display()),
                hints: Vec::new(),
            }
            .into());
        }
        let rows = self.0.store.board(&workspace.to_string_lossy()).await?;
        let state = BoardState::new(workspace, &self.0.settings.files, rows);
        let board = Arc::new(Open {
            state: Arc::new(Mutex::new(state)),
            asked_us: now_us().into(),
        });
        open.insert(workspace.to_owned(), board.clone());
        self.0.used.notify_one();
        Ok(board)
    }

    /// Runs `work` on a board, stores what it changed, and rings.
    pub(super) async fn with<T, F>(&self, workspace: &Path, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut BoardState) -> Result<T, Rejection> + Send + 'static,
    {
        let board = self.open(workspace).await?;
        let mut state = board.state.clone().lock_owned().await;
        let joined = tokio::task::spawn_blocking(move || {
            let before = (state.rev, state.problems());
            let result = work(&mut state);
            let rang = before != (state.rev, state.problems());
            (state, result, rang)
        })
        .await;
        let Ok((mut state, result, rang)) = joined else {
            self.0.open.lock().await.remove(workspace);
            return Err(Rejection::WrongState("the board's work ended unexpectedly".into()).into());
        };
        let outbox = state.take_outbox();
        if let Err(error) = self.0.store.put_board(&workspace.to_string_lossy(), outbox).await {
            // The next look finds file and store apart and takes the file's side.
            self.0.open.lock().await.remove(workspace);
            return Err(error.into());
        }
        drop(state);
        if rang {
            self.0.changed.send_modify(|n| *n = n.wrapping_add(1));
        }
        Ok(result?)
    }

    /// A board as it is now. `look`: read the files first.
    pub async fn view(&self, workspace: &Path) -> Result<BoardView, Refusal> {
        let root = workspace.to_owned();
        let (twins, files, problems, synced_us, rev) = self
            .with(workspace, move |state| {
                state.sync(now_us());
                let mut twins: Vec<(Twin, Vec<String>)> = state
                    .twins
                    .values()
                    .filter(|twin| !twin.gone)
                    .map(|twin| (twin.clone(), state.open_waits(&twin.task.task_id)))
                    .collect();
                twins.sort_by_key(|(twin, _)| twin.place);
                let files = state
                    .files
                    .iter()
                    .filter(|f| f.content.is_some())
                    .map(|f| f.path.clone())
                    .collect();
                Ok((twins, files, state.problems(), state.synced_us, state.rev))
            })
            .await?;
        let tasks = self.with_work(workspace, twins, None).await?;
        Ok(BoardView {
            workspace: root,
            tasks,
            files,
            problems,
            synced_us,
            rev,
        })
    }

    /// Tasks beside what was done for them: their sessions and what they cost. `only`: there is but this one.
    async fn with_work(
        &self,
        workspace: &Path,
        twins: Vec<(Twin, Vec<String>)>,
        only: Option<&TaskId>,
    ) -> Result<Vec<TaskView>, Refusal> {
        let key = workspace.to_string_lossy();
        let costs = self.0.store.task_costs(&key, only).await?;
        let mut costs: HashMap<TaskId, TaskCost> = costs.into_iter().collect();
        let mut sessions: HashMap<TaskId, Vec<Summary>> = HashMap::new();
        for summary in self.0.store.sessions(of_workspace(&key)).await? {
            if let Some(task) = &summary.task {
                sessions.entry(task.clone()).or_default().push(summary);
            }
        }
        Ok(twins
            .into_iter()
            .map(|(twin, open_waits)| TaskView {
                sessions: sessions.remove(&twin.task.task_id).unwrap_or_default(),
                cost: costs.remove(&twin.task.task_id).unwrap_or_default(),
                twin,
                open_waits,
            })
            .collect())
    }

    /// One task, with the newest of its history.
    pub async fn task(
        &self,
        workspace: &Path,
        wanted: &str,
        history: u32,
    ) -> Result<(TaskView, Vec<Change>), Refusal> {
        let wanted = wanted.to_owned();
        let (twin, open_waits) = self
            .with(workspace, move |state| {
                state.sync(now_us());
                let twin = state.twin(&wanted)?.clone();
                let open_waits = state.open_waits(&twin.task.task_id);
                Ok((twin, open_waits))
            })
            .await?;
        let id = twin.task.task_id.clone();
        let tasks = self
            .with_work(workspace, vec![(twin, open_waits)], Some(&id))
            .await?;
        let task = tasks.into_iter().next();
        let task =
            task.ok_or_else(|| Rejection::WrongState(format!("task {id} is just leaving the board")))?;
        let key = workspace.to_string_lossy();
        let changes = self.0.store.task_history(&key, &id, 0, history).await?;
        Ok((task, changes))
    }

    /// Changes a task. Fields that the file changed since the wisher looked are kept as conflicts.
    pub async fn edit(
        &self,
        workspace: &Path,
        wanted: &str,
        by: &str,
        wish: EditWish,
    ) -> Result<(TaskId, Vec<Conflict>), Refusal> {
        loop {
            // Only once the files were read, and what was found in them kept, does the store have all that changed
            // since the wisher looked.
            let (rev, past) = match wanted.parse::<TaskId>() {
                Ok(id) if wish.base_rev > 0 => {
                    let look = |state: &mut BoardState| {
                        state.sync(now_us());
                        Ok(state.rev)
                    };
                    let rev = self.with(workspace, look).await?;
                    let key = workspace.to_string_lossy();
                    let past = self.0.store.task_history(&key, &id, wish.base_rev, 1000);
                    (Some(rev), past.await?)
                }
                _ => (None, Vec::new()),
            };
            let (wanted, by, wish) = (wanted.to_owned(), by.to_owned(), wish.clone());
            let done = self
                .with(workspace, move |state| match rev {
                    // Somebody was faster: that has to be known, too.
                    Some(rev) if rev != state.rev => Ok(None),
                    _ => edited(state, &wanted, &by, wish, &past).map(Some),
                })
                .await?;
            if let Some(done) = done {
                return Ok(done);
            }
        }
    }

    /// Adds a task.
    pub async fn add(
        &self,
        workspace: &Path,
        path: &str,
        fields: Fields,
        section: Option<String>,
        by: &str,
    ) -> Result<TaskId, Refusal> {
        let (path, by) = (path.to_owned(), by.to_owned());
        self.with(workspace, move |state| {
            state.sync(now_us());
            state.add(&path, &fields, section.as_deref(), &by, now_us())
        })
        .await
    }

    /// Takes a task, or renews the same holder's claim: the heartbeat.
    pub async fn claim(
        &self,
        workspace: &Path,
        wanted: &str,
        holder: Holder,
        wish: ClaimWish,
    ) -> Result<TaskId, Refusal> {
        let lease = wish.lease.unwrap_or(self.0.settings.lease);
        if lease.is_zero() || lease > MAX_LEASE {
            return Err(Rejection::InvalidArgument("a lease lasts up to seven days".into()).into());
        }
        let wanted = wanted.to_owned();
        self.with(workspace, move |state| {
            state.sync(now_us());
            state.expire(now_us());
            let id = state.twin(&wanted)?.task.task_id.clone();
            let claim = Wanted {
                holder: holder.name,
                owner: holder.owner,
                session_id: holder.session_id,
                lease_us: i64::try_from(lease.as_micros()).unwrap_or(i64::MAX),
                run: wish.run,
                force: wish.force,
            };
            state.claim(&id, &claim, now_us())?;
            Ok(id)
        })
        .await
    }

    /// Gives a task back. Another's only with `force`.
    pub async fn release(
        &self,
        workspace: &Path,
        wanted: &str,
        holder: &Holder,
        force: bool,
    ) -> Result<TaskId, Refusal> {
        let (wanted, holder) = (wanted.to_owned(), holder.clone());
        self.with(workspace, move |state| {
            state.sync(now_us());
            let twin = state.twin(&wanted)?;
            let id = twin.task.task_id.clone();
            let Some(claim) = &twin.claim else {
                return Err(Rejection::WrongState(format!("nobody has claimed task {id}")));
            };
            let own = claim.holder == holder.name
                || (claim.session_id.is_some() && claim.session_id == holder.session_id);
            // The same person may give back through another client what was taken through one.
            let person = holder.session_id.is_none()
                && claim.session_id.is_none()
                && claim.holder.split(" via ").next() == holder.name.split(" via ").next();
            if !(own || person || force) {
                return Err(Rejection::TaskClaimed {
                    task: id.to_string(),
                    holder: claim.holder.clone(),
                });
            }
            state.release(&id, &holder.name, "", true, now_us())?;
            Ok(id)
        })
        .await
    }

    /// Ends a task with a link that leads somewhere.
    pub async fn complete(
        &self,
        workspace: &Path,
        wanted: &str,
        by: &str,
        link: &str,
        note: &str,
    ) -> Result<(TaskId, String), Refusal> {
        let link = match link {
            "" => String::new(),
            link => commit::check(workspace, link).await?,
        };
        let words = match (link.is_empty(), note.is_empty()) {
            (true, true) => None,
            (true, false) => Some(note.to_owned()),
            (false, true) => Some(format!("done in {link}")),
            (false, false) => Some(format!("done in {link}: {note}")),
        };
        let wish = EditWish {
            set: vec![(Field::Status, TaskState::Done.title().to_owned())],
            note: words,
            ..EditWish::default()
        };
        let (id, _) = self.edit(workspace, wanted, by, wish).await?;
        Ok((id, link))
    }

    /// Settles a conflict.
    pub async fn resolve(
        &self,
        workspace: &Path,
        wanted: &str,
        field: Option<Field>,
        keep: Keep,
        by: &str,
    ) -> Result<TaskId, Refusal> {
        let (wanted, by) = (wanted.to_owned(), by.to_owned());
        self.with(workspace, move |state| {
            state.sync(now_us());
            let twin = state.twin(&wanted)?.clone();
            let id = twin.task.task_id.clone();
            let chosen: Vec<Conflict> = twin
                .conflicts
                .iter()
                .filter(|c| field.is_none_or(|f| f == c.field))
                .cloned()
                .collect();
            if chosen.is_empty() {
                return Err(Rejection::WrongState(format!("task {id} has no open conflict")));
            }
            let set: Vec<(Field, String)> = chosen
                .iter()
                .filter_map(|conflict| match &keep {
                    Keep::File => None,
                    Keep::Board => Some((conflict.field, conflict.board.clone())),
                    Keep::Text(text) => Some((conflict.field, text.clone())),
                })
                .collect();
            if !set.is_empty() {
                let wish = Wish {
                    set,
                    ..Wish::default()
                };
                state.edit(&id, wish, None, &by, now_us())?;
            }
            let mut twin = state.twin(id.as_str())?.clone();
            twin.conflicts
                .retain(|conflict| !chosen.iter().any(|c| c.field == conflict.field));
            let words = match &keep {
                Keep::File => "kept the file's side",
                Keep::Board => "kept the board's side",
                Keep::Text(_) => "settled with another text",
            };
            state.put(
                id.clone(),
                twin,
                Some(super::state::change(now_us(), &by, "resolved", Vec::new(), words)),
            );
            Ok(id)
        })
        .await
    }

    /// Looks at the files now; with `restore` a deleted file comes back with its last good content.
    pub async fn sync(&self, workspace: &Path, restore: bool) -> Result<(), Refusal> {
        self.with(workspace, move |state| {
            state.sync(now_us());
            if restore {
                state.restore()?;
                state.sync(now_us());
            }
            match state.files.iter().find_map(|file| file.broken.as_ref()) {
                Some(problem) if restore => Err(board_refused(problem)),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Watches files and claims until the token is thrown.
    pub async fn watch(self, stop: CancellationToken) {
        loop {
            let boards: Vec<(PathBuf, Arc<Open>)> = self
                .0
                .open
                .lock()
                .await
                .iter()
                .map(|(path, open)| (path.clone(), open.clone()))
                .collect();
            let mut awake = 0;
            for (path, board) in boards {
                let asked = board.asked_us.load(std::sync::atomic::Ordering::Relaxed);
                let claimed = board.state.lock().await.has_claims();
                if !claimed
                    && now_us().saturating_sub(asked) > IDLE_US
                    && self.0.changed.receiver_count() == 0
                {
                    self.0.open.lock().await.remove(&path);
                    continue;
                }
                awake += 1;
                self.look(&path, &board).await;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.used.notified() => {}
                () = pause(), if awake > 0 => {}
            }
        }
    }

    /// One look at one board; what it found is stored and rung.
    async fn look(&self, workspace: &Path, board: &Arc<Open>) {
        let asked = board.asked_us.load(std::sync::atomic::Ordering::Relaxed);
        let done = self
            .with(workspace, |state| {
                let now = now_us();
                state.sync(now);
                state.expire(now);
                Ok(())
            })
            .await;
        // Our own look is no use of the board.
        board.asked_us.store(asked, std::sync::atomic::Ordering::Relaxed);
        if let Err(error) = done {
            tracing::warn!(%error, workspace = %workspace.display(), "board: its files could not be looked at");
        }
    }
}

fn of_workspace(workspace: &str) -> SessionFilter {
    SessionFilter {
        states: vec![
            State::Ready,
            State::Working,
            State::NeedsYou,
            State::Paused,
            State::Failed,
            State::Archived,
        ],
        workspace: Some(workspace.to_owned()),
        limit: 1000,
        ..SessionFilter::default()
    }
}

async fn pause() {
    tokio::time::sleep(LOOK_EVERY).await;
}

/// Changes a task that was looked at before all in `past`, oldest first.
fn edited(
    state: &mut BoardState,
    wanted: &str,
    by: &str,
    wish: EditWish,
    past: &[Change],
) -> Result<(TaskId, Vec<Conflict>), Rejection> {
    let mut base = state.twin(wanted).ok().map(|twin| twin.task.fields.clone());
    if let Some(base) = &mut base {
        // Undone from now backwards, that is what was looked at.
        for change in past.iter().rev().filter(|change| change.what == "edited") {
            for field in &change.fields {
                base.set(field.field, &field.before);
            }
        }
    }
    state.sync(now_us());
    let id = state.twin(wanted)?.task.task_id.clone();
    let renamed = wish.new_id.clone();
    let changes = Wish {
        set: wish.set,
        note: wish.note,
        id: wish.new_id,
    };
    let done = state.edit(&id, changes, base.as_ref(), by, now_us())?;
    let ends = matches!(
        state.twins.get(&id).map(|twin| twin.task.fields.status),
        Some(TaskState::Done | TaskState::Review)
    );
    if ends {
        state.release(&id, by, "handed on", false, now_us())?;
    }
    Ok((renamed.unwrap_or(id), done.conflicts))
}
