//! Owns: what happens before a model request: what is missing is put into the context, and room is made where it is full.
//! Guarantees: what the model reads is committed before it is sent, so that every request begins with the one before
//! it; a context that can't hold even the system text is said so, not tried.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::fill::spec_bytes;
use super::mailbox::TurnView;
use super::prompt;
use super::surroundings::{self, Place};
use super::turn::{Gone, TurnJob};
use crate::clock::now_us;
use crate::domain::context::{CompactReason, ContextItem, ContextKind, tokens_of};
use crate::domain::event::{EventBody, TurnOutcome};
use crate::tools::Registry;

/// What a turn did to its context so far; lost with its task, and found again in the log where it matters.
#[derive(Default)]
pub(super) struct Brief(Mutex<State>);

#[derive(Default)]
struct State {
    /// Instruction files were looked at since the turn's task began.
    looked: bool,
    /// Directories that calls touched and whose instruction files were not looked at yet.
    touched: BTreeSet<PathBuf>,
    /// Directories that were.
    seen: BTreeSet<PathBuf>,
    /// The model was told that its next step is the last.
    last: bool,
    /// What a call's result was already told of: shares of the context, minutes.
    told: (u64, u64),
    /// The last compaction: at which step, and the tokens it left.
    compacted: Option<(u32, u64)>,
    /// Times the server refused the present step as too long.
    refused: u32,
}

impl Brief {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A call touched this path.
    pub(super) fn touch(&self, path: &Path) {
        self.with(|state| {
            let dir = path.to_path_buf();
            if !state.seen.contains(&dir) {
                state.touched.insert(dir);
            }
        });
    }

    /// The server refused the step once more; how often now.
    pub(super) fn refused(&self) -> u32 {
        self.with(|state| {
            state.refused = state.refused.saturating_add(1);
            state.refused
        })
    }

    /// A step was answered.
    pub(super) fn answered(&self) {
        self.with(|state| state.refused = 0);
    }

    pub(super) fn compacted(&self, step: u32, left: u64) {
        self.with(|state| state.compacted = Some((step, left)));
    }

    /// The model was told that its step is the last one.
    pub(super) fn is_last(&self) -> bool {
        self.with(|state| state.last)
    }
}

impl TurnJob {
    /// Puts into the context what is missing and makes room. False: the turn is over.
    pub(super) async fn prepare(&self, view: &mut TurnView, tools: &Registry) -> Result<bool, Gone> {
        if !view.options.compact_only {
            self.brief(view).await?;
        }
        if let Some(reason) = self.wants_room(view, tools) {
            let made = self.compact(view, tools, reason).await?;
            if self.stop.is_cancelled() {
                return Ok(true);
            }
            if view.options.compact_only {
                let outcome = if made {
                    TurnOutcome::Done
                } else {
                    TurnOutcome::Failed {
                        reason: "nothing_to_compact".into(),
                        message: "there is nothing in the context that a summary could take the place of"
                            .into(),
                        hints: vec!["agentctl sessions show SESSION --context   (what fills it)".into()],
                    }
                };
                self.finish(Vec::new(), outcome).await?;
                return Ok(false);
            }
            if made {
                self.brief(view).await?;
            }
        } else if view.options.compact_only {
            self.finish(Vec::new(), TurnOutcome::Done).await?;
            return Ok(false);
        }
        if let Some(outcome) = self.too_small(view, tools) {
            self.finish(Vec::new(), outcome).await?;
            return Ok(false);
        }
        Ok(true)
    }

    /// The model's window in tokens, where known.
    pub(super) fn window(&self) -> Option<u64> {
        let model = self.model();
        let (window, _) = self
            .settings
            .models()
            .window(model.name(), model.context_tokens());
        window
    }

    /// Bytes of the system text and the tools.
    pub(super) fn base_bytes(&self, view: &TurnView, tools: &Registry) -> u64 {
        let system = prompt::instructions(&view.spec, &view.persona, self.model().dialect()).len();
        let specs: usize = tools.specs_of(&view.persona).iter().map(spec_bytes).sum();
        system.saturating_add(specs) as u64
    }

    /// About how many tokens the next request sends.
    pub(super) fn expected(&self, view: &TurnView, tools: &Registry) -> u64 {
        let fresh = tokens_of(view.heard.fresh_bytes);
        match view.context_tokens {
            0 => tokens_of(self.base_bytes(view, tools)).saturating_add(fresh),
            counted => counted.saturating_add(fresh),
        }
    }

    fn wants_room(&self, view: &TurnView, tools: &Registry) -> Option<CompactReason> {
        if view.heard.wanted.is_some() {
            return Some(CompactReason::Asked);
        }
        let window = self.window()?;
        let limit = self.settings.compact_at(Some(window))?;
        let expected = self.expected(view, tools);
        if expected < limit {
            return None;
        }
        // A compaction that left the context nearly as full would do so again: wait until something was added.
        let again = self
            .brief
            .with(|state| state.compacted)
            .is_none_or(|(step, left)| view.steps > step && expected >= left.saturating_add(window / 8));
        again.then_some(CompactReason::Near)
    }

    /// How a turn ends whose model can't take even the system text. Reckoned in the model's favour.
    fn too_small(&self, view: &TurnView, tools: &Registry) -> Option<TurnOutcome> {
        const MOST_BYTES_PER_TOKEN: u64 = 7;
        let window = self.window()?;
        let bytes = self.base_bytes(view, tools);
        if bytes / MOST_BYTES_PER_TOKEN < window {
            return None;
        }
        Some(TurnOutcome::Failed {
            reason: "context_too_small".into(),
            message: format!(
                "the model's context of {window} tokens can't hold the system text and the tools, about {} tokens",
                tokens_of(bytes)
            ),
            hints: vec![
                "start the server with a larger context (llama-server -c 16384, OLLAMA_CONTEXT_LENGTH=16384)"
                    .into(),
                "agentctl models list   (pick a model with a larger context)".into(),
            ],
        })
    }

    /// Puts in what is missing: one fact, and none when nothing is.
    async fn brief(&self, view: &mut TurnView) -> Result<(), Gone> {
        let words: Vec<String> = surroundings::unread(&view.history)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let fresh = !words.is_empty();
        let known = view.heard.instructed.clone();
        let (look, dirs) = self.brief.with(|state| {
            let look = !state.looked || known.is_empty() && !view.heard.oriented || fresh;
            state.looked = true;
            let mut dirs = std::mem::take(&mut state.touched);
            state.seen.extend(dirs.iter().cloned());
            if look {
                dirs.insert(view.spec.workspace.start_dir.clone());
                // A file that is in the context may have changed.
                dirs.extend(
                    known
                        .keys()
                        .filter_map(|file| Path::new(file).parent())
                        .map(Path::to_path_buf),
                );
            }
            (look, dirs)
        });
        let oriented = view.heard.oriented;
        let repository = match look && !oriented {
            true => crate::jail::repository(&view.spec.workspace.root, view.spec.jail).await,
            false => None,
        };
        let shell_dir = self.execs.cwd().unwrap_or_else(|| {
            let start = &view.spec.workspace.start_dir;
            self.execs.paths().show(start)
        });
        let place = Place {
            guard: self.guard.clone(),
            paths: self.execs.paths(),
        };
        let nothing = oriented && dirs.is_empty() && words.is_empty();
        let gather = move || {
            let mut items = Vec::new();
            if !oriented {
                items.push(surroundings::environment(
                    &place,
                    &shell_dir,
                    repository.as_deref(),
                ));
            }
            if !dirs.is_empty() {
                items.extend(surroundings::instructions(&place, &dirs, &known));
            }
            items.extend(surroundings::mentions(&place, &words));
            items
        };
        let mut items = if nothing {
            Vec::new()
        } else {
            // What can't be gathered is missing, no more.
            tokio::task::spawn_blocking(gather).await.unwrap_or_default()
        };
        if fresh && let Some(schema) = &view.options.json_schema {
            let text = format!(
                "Your final message must be one JSON value that matches this JSON Schema, and nothing else:\n{schema}"
            );
            items.push(ContextItem::plain(ContextKind::Schema, "answer", text));
        }
        items.extend(self.last_words(view));
        if items.is_empty() {
            return Ok(());
        }
        let hidden: BTreeMap<&str, u32> = items
            .iter()
            .filter(|item| item.hidden > 0)
            .map(|item| (item.name.as_str(), item.hidden))
            .collect();
        let notices: Vec<EventBody> = hidden
            .iter()
            .map(|(name, count)| EventBody::NoticeRecorded {
                code: "hidden_text".into(),
                message: format!(
                    "{name} has {count} characters that hide or reorder text; the model reads them spelled out"
                ),
            })
            .collect();
        let mut facts = vec![EventBody::ContextAdded {
            turn_id: self.turn_id.clone(),
            items,
        }];
        facts.extend(notices);
        *view = self.actor.record(&self.turn_id, facts).await?.ok_or(Gone)?;
        Ok(())
    }

    /// Told once, before the last step that a turn may take.
    fn last_words(&self, view: &TurnView) -> Option<ContextItem> {
        let why = match self.repeats.over() {
            Some(why) => why,
            None if view.options.max_steps > 2 && view.steps.saturating_add(1) >= view.options.max_steps => {
                "the turn has as many steps as it may take"
            }
            None => return None,
        };
        let first = self.brief.with(|state| !std::mem::replace(&mut state.last, true));
        first.then(|| {
            ContextItem::note(format!(
                "This is your last step: {why}. Make no more calls. Say what you did, what you checked, and what is \
                 not done."
            ))
        })
    }

    /// What a call's result is followed by when a limit comes near: said once at each mark.
    pub(super) fn awareness(&self, view: &TurnView, tools: &Registry) -> Option<String> {
        const SHARES: [u64; 3] = [50, 75, 90];
        const MINUTES: [u64; 4] = [10, 30, 60, 120];
        let mut said = Vec::new();
        let share = self.window().map_or(0, |window| {
            self.expected(view, tools).saturating_mul(100) / window.max(1)
        });
        let elapsed = now_us().saturating_sub(view.started_us).max(0) / 60_000_000;
        let minutes = u64::try_from(elapsed).unwrap_or_default();
        self.brief.with(|state| {
            if let Some(mark) = SHARES.iter().rev().find(|mark| share >= **mark)
                && *mark > state.told.0
            {
                state.told.0 = *mark;
                said.push(format!("{share} % of the context is used"));
            }
            if let Some(mark) = MINUTES.iter().rev().find(|mark| minutes >= **mark)
                && *mark > state.told.1
            {
                state.told.1 = *mark;
                said.push(format!(
                    "{minutes} minutes and {} steps into this turn",
                    view.steps
                ));
            }
        });
        let left = view.options.max_steps.saturating_sub(view.steps);
        if matches!(left, 5 | 10) && view.options.max_steps >= 20 {
            said.push(format!("{left} steps are left in this turn"));
        }
        (!said.is_empty()).then(|| format!("[{}]", said.join("; ")))
    }
}
