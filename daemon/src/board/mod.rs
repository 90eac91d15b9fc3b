//! Owns: the boards of workspaces: reading TASKS.md, changing it without loss, and its twin in the store.
//! Guarantees: bytes that nobody meant to change stay; what people and the board both changed is kept and asked about.

pub mod add;
mod boards;
mod claims;
mod commit;
pub mod document;
pub mod edit;
mod item;
mod look;
mod runs;
mod state;
mod table;
mod twin;
mod view;
mod waits;

#[cfg(test)]
mod board_tests;
#[cfg(test)]
mod document_tests;

pub use boards::Boards;
pub use view::{BoardView, ClaimWish, EditWish, Holder, Keep, Refusal, Settings, TaskView};

use crate::domain::task::TaskId;

/// The id of the first task of a board that has none to go by.
#[expect(
    clippy::expect_used,
    reason = "the literal is an id; the test of ids covers it"
)]
pub(crate) fn first_id() -> TaskId {
    "T-1".parse().expect("T-1 is an id")
}
