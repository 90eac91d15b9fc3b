//! Owns: who follows a session at this moment, and who of them has the input of its terminals.
//! Guarantees: memory only; whoever goes away, however, is gone from the list at once, and the input is free then; nobody
//! is told twice about the same list; of two who want the input unless it is held one gets it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::now_us;
use crate::domain::principal::Asker;
use crate::domain::rejection::Rejection;

/// A reader that is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Tells seats apart.
    pub seat: u64,
    /// Who, through what.
    pub asker: Asker,
    /// Since when, microseconds since the epoch.
    pub since_us: i64,
    /// Under which name it writes terminal input; empty when it does not.
    writer: String,
    /// It has the input.
    pub input: bool,
}

#[derive(Debug, Default)]
struct Present {
    next: u64,
    last_writer: String,
    all: Arc<[Attached]>,
}

/// The list, and its doorbell.
#[derive(Debug)]
pub(super) struct Presence {
    present: watch::Sender<Present>,
}

impl Presence {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            present: watch::Sender::new(Present::default()),
        })
    }

    /// Longest first.
    pub(super) fn all(&self) -> Arc<[Attached]> {
        self.present.borrow().all.clone()
    }

    /// Somebody comes; they stay until the seat is dropped.
    pub(super) fn attach(self: &Arc<Self>, asker: Asker, writer: String) -> Seat {
        let mut number = 0;
        self.present.send_modify(|present| {
            number = present.next;
            present.next = present.next.wrapping_add(1);
            let input = !writer.is_empty() && writer == present.last_writer;
            let come = Attached {
                seat: number,
                asker,
                since_us: now_us(),
                writer,
                input,
            };
            present.all = present.all.iter().cloned().chain([come]).collect();
        });
        Seat {
            bell: self.present.subscribe(),
            presence: self.clone(),
            number,
        }
    }

    /// A writer takes the input; with `unless_held` only where nobody else who is attached has it. Who answers a question
    /// from elsewhere, without being attached, takes it from nobody.
    pub(super) fn take_input(&self, writer: &str, unless_held: bool) -> Result<(), Rejection> {
        let mut held = None;
        self.present.send_if_modified(|present| {
            if present.last_writer == writer {
                return false;
            }
            let holder = present.all.iter().find(|one| one.input);
            let attached = !writer.is_empty() && present.all.iter().any(|one| one.writer == writer);
            if let Some(holder) = holder.filter(|_| unless_held || !attached) {
                held = unless_held.then(|| holder.asker.signature());
                return false;
            }
            writer.clone_into(&mut present.last_writer);
            present.all = present
                .all
                .iter()
                .map(|one| Attached {
                    input: !writer.is_empty() && one.writer == writer,
                    ..one.clone()
                })
                .collect();
            true
        });
        held.map_or(Ok(()), |by| Err(Rejection::InputHeld(by)))
    }
}

/// A place among those who follow.
#[derive(Debug)]
pub(super) struct Seat {
    presence: Arc<Presence>,
    bell: watch::Receiver<Present>,
    number: u64,
}

impl Seat {
    /// Its number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Which place of how many it is; `None` for one who has the input, and waits to see what it does.
    pub(super) fn place(&self) -> Option<(usize, usize)> {
        let all = &self.bell.borrow().all;
        let place = all.iter().position(|one| one.seat == self.number)?;
        let watches = all.get(place).is_some_and(|one| !one.input);
        watches.then_some((place, all.len()))
    }

    /// The list, when it changed since the last look.
    pub(super) fn news(&mut self) -> Option<Arc<[Attached]>> {
        match self.bell.has_changed() {
            Ok(true) => Some(self.bell.borrow_and_update().all.clone()),
            _ => None,
        }
    }

    /// The list changes.
    pub(super) async fn changed(&mut self) {
        // The sender is held by this very seat.
        if self.bell.changed().await.is_ok() {
            self.bell.mark_changed();
        }
    }

    /// The next look gives the list whatever happened.
    pub(super) fn look_anew(&mut self) {
        self.bell.mark_changed();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let number = self.number;
        self.presence.present.send_modify(|present| {
            present.all = present
                .all
                .iter()
                .filter(|one| one.seat != number)
                .cloned()
                .collect();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::principal::Client;

    fn asker(client: Client) -> Asker {
        Asker {
            principal: "ana".into(),
            client,
        }
    }

    #[test]
    fn who_comes_types_and_goes_is_seen_once() {
        let presence = Presence::new();
        let mut tui = presence.attach(asker(Client::Tui), "w-1".into());
        let web = presence.attach(asker(Client::Web), String::new());
        assert_eq!(tui.news().unwrap().len(), 2);
        assert!(tui.news().is_none());
        presence.take_input("w-1", false).unwrap();
        let input: Vec<bool> = tui.news().unwrap().iter().map(|one| one.input).collect();
        assert_eq!(input, [true, false]);
        presence.take_input("w-1", false).unwrap();
        assert!(tui.news().is_none(), "the same hand again is no news");
        assert_eq!((tui.place(), web.place()), (None, Some((1, 2))));
        drop(web);
        assert_eq!(tui.news().unwrap().len(), 1);
        drop(tui);
        assert!(presence.all().is_empty());
    }

    #[test]
    fn the_input_has_one_holder_and_is_taken_on_purpose() {
        let presence = Presence::new();
        let mut ana = presence.attach(asker(Client::Tui), "a".into());
        let ben = presence.attach(asker(Client::Web), "b".into());
        let holder = |presence: &Presence| -> Vec<u64> {
            let all = presence.all();
            all.iter().filter(|one| one.input).map(|one| one.seat).collect()
        };
        presence.take_input("a", true).unwrap();
        let refused = presence.take_input("b", true).unwrap_err().to_string();
        assert_eq!(refused, "ana via tui has the input");
        assert_eq!(holder(&presence), [ana.number()]);
        // An answer from elsewhere, named or not, takes it from nobody.
        for stranger in ["", "x"] {
            presence.take_input(stranger, false).unwrap();
            assert_eq!(holder(&presence), [ana.number()]);
        }
        ana.news();
        presence.take_input("b", false).unwrap();
        assert_eq!(holder(&presence), [ben.number()]);
        assert!(ana.news().is_some(), "who lost it is told");
        assert!(presence.take_input("a", true).is_err());
        // Whoever goes leaves it free.
        drop(ben);
        presence.take_input("a", true).unwrap();
        assert_eq!(holder(&presence), [ana.number()]);
    }
}
