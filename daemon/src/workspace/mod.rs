//! Owns: the daemon's own access to the files of a Workspace, and what in them asks for a second look.
//! Guarantees: no path, symbolic link, race or file kind leads outside the Workspace or hangs the daemon.

mod added;
pub mod guard;
mod list;
pub mod protect;
mod replace;
pub mod walk;

pub use guard::{Expect, FileContent, Guard, GuardError, Kind, Stamp};
pub use list::{Entry, Listing};
pub use protect::protected;
pub use replace::Written;

#[cfg(test)]
mod guard_tests;
