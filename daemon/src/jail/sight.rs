//! Owns: what of the machine a Jail sees beside its Workspace: toolchains, added directories, and the PATH over them.
//! Guarantees: nothing of the project is covered: in the root layout a directory whose first part the project has itself
//! is left out, and said to be.

use std::path::{Component, Path, PathBuf};

use super::spec::JailSpec;
use super::toolchains::{self, Toolchains};
use crate::domain::limits::AddedDir;
use crate::domain::workspace::{JailKind, Layout, Workspace};

/// What a Jail sees beside its Workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// Compilers and version managers, as far as they are shown.
    pub toolchains: Toolchains,
    /// Directories beside the Workspace, as far as they are shown.
    pub added: Vec<AddedDir>,
    /// First parts of their paths that the root layout needs in the project.
    pub tops: Vec<PathBuf>,
    /// Host directories that can't be shown without covering the project's own.
    pub covered: Vec<PathBuf>,
    /// The PATH inside.
    pub path: Vec<PathBuf>,
    /// Directories of the person's PATH that are not inside.
    pub left_out: Vec<PathBuf>,
}

/// First parts that are there anyway.
const THERE: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib64", "tmp", "run", "dev"];

impl Sight {
    /// Of a spec. `ours` are mount points in the project that are not its own.
    pub fn of(spec: &JailSpec, ours: &[PathBuf]) -> Self {
        let mut sight = Self::default();
        let person = spec.person.as_deref();
        let asked = match (spec.search_path.as_str(), person) {
            ("", Some(person)) => person.env.get("PATH").map_or("", String::as_str),
            (asked, _) => asked,
        };
        let found = toolchains::find(
            person.and_then(|person| person.home.as_deref()),
            &|name| person?.env.get(name).cloned(),
            &spec.read_only,
            asked,
            person.is_some_and(|person| person.automatic),
        );
        let bins = if spec.search_path.is_empty() {
            found.bins.clone()
        } else {
            Vec::new()
        };
        let mut show = |dir: &Path| match place_of(spec.kind, &spec.workspace, ours, dir) {
            Some(top) => {
                sight.tops.extend(top);
                true
            }
            None => {
                sight.covered.push(dir.to_owned());
                false
            }
        };
        // What is below /usr is there already.
        let mounts = found.mounts.iter().filter(|dir| !dir.starts_with("/usr"));
        let mounts: Vec<PathBuf> = mounts.filter(|dir| show(dir)).cloned().collect();
        let (added, swapped): (Vec<&AddedDir>, Vec<&AddedDir>) =
            spec.added.iter().partition(|dir| is_itself(&dir.path));
        sight.added = added.into_iter().filter(|dir| show(&dir.path)).cloned().collect();
        // One that lies in another is mounted over it.
        sight.added.sort_by_key(|dir| dir.path.components().count());
        sight
            .covered
            .extend(swapped.into_iter().map(|dir| dir.path.clone()));
        sight.tops.sort();
        sight.tops.dedup();
        let roots: Vec<PathBuf> = mounts
            .iter()
            .chain(sight.added.iter().map(|dir| &dir.path))
            .cloned()
            .collect();
        let home = person.and_then(|person| person.home.as_deref());
        sight.toolchains = Toolchains {
            masked: toolchains::masked(home, &mounts),
            layers: found
                .layers
                .into_iter()
                .filter(|layer| {
                    let touches =
                        |mount: &PathBuf| layer.at.starts_with(mount) || mount.starts_with(&layer.at);
                    mounts.iter().any(touches)
                })
                .collect(),
            mounts,
            ..found
        };
        let inside = |dir: &Path| {
            if spec.kind == JailKind::Outer || roots.iter().any(|root| dir.starts_with(root)) {
                return Some(dir.to_owned());
            }
            let relative = dir.strip_prefix(&spec.workspace.root).ok()?;
            Some(spec.workspace.jail_path(relative))
        };
        (sight.path, sight.left_out) = toolchains::search_path(asked, &bins, &inside);
        sight
    }

    /// The PATH as a variable has it.
    pub fn path_text(&self) -> String {
        let parts: Vec<String> = self
            .path
            .iter()
            .map(|dir| dir.display().to_string())
            .filter(|dir| !dir.contains(':'))
            .collect();
        parts.join(":")
    }
}

/// Those of the added directories that a Jail shows, as long as they are themselves.
pub fn shown_added<'a>(
    kind: JailKind,
    workspace: &'a Workspace,
    added: &'a [AddedDir],
    ours: &'a [PathBuf],
) -> impl Iterator<Item = &'a AddedDir> {
    added
        .iter()
        .filter(move |dir| place_of(kind, workspace, ours, &dir.path).is_some())
}

/// Those that it does not show: they are gone, something else is in their place, or the project has such a path itself.
pub fn unshown<'a>(spec: &'a JailSpec, ours: &'a [PathBuf]) -> impl Iterator<Item = &'a Path> {
    let shown = |dir: &AddedDir| {
        is_itself(&dir.path) && place_of(spec.kind, &spec.workspace, ours, &dir.path).is_some()
    };
    let hidden = spec.added.iter().filter(move |dir| !shown(dir));
    hidden.map(|dir| dir.path.as_path())
}

/// Whether a path that had no link in it has none now: in another's workspace somebody may have put one there.
fn is_itself(dir: &Path) -> bool {
    dir.canonicalize().is_ok_and(|real| real == dir)
}

/// Whether a directory can be shown, and which first part of its path that needs in the project.
fn place_of(kind: JailKind, workspace: &Workspace, ours: &[PathBuf], dir: &Path) -> Option<Option<PathBuf>> {
    if kind == JailKind::Outer || workspace.layout == Layout::Host {
        return Some(None);
    }
    let top = top_of(dir)?;
    if THERE.iter().any(|there| Path::new(there) == top) {
        return Some(None);
    }
    let place = workspace.root.join(&top);
    let theirs = place.symlink_metadata().is_ok() && !ours.contains(&place);
    (!theirs).then_some(Some(top))
}

fn top_of(dir: &Path) -> Option<PathBuf> {
    dir.components().find_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::spec::Person;
    use super::*;
    use crate::domain::id::SessionId;
    use crate::domain::workspace::ShellKind;

    fn spec(dir: &Path, layout: Layout) -> JailSpec {
        for sub in ["home/.cargo/bin", "home/extra", "w/bin"] {
            std::fs::create_dir_all(dir.join(sub)).unwrap();
        }
        let workspace = Workspace {
            root: dir.join("w"),
            start_dir: "".into(),
            layout,
            layout_reason: String::new(),
        };
        let home = dir.join("home");
        JailSpec {
            person: Some(Arc::new(Person {
                home: Some(home.clone()),
                env: [("PATH".to_owned(), "/usr/bin".to_owned())].into(),
                automatic: true,
            })),
            added: vec![AddedDir {
                path: home.join("extra"),
                writable: true,
            }],
            ..JailSpec::new(SessionId::random(), workspace, ShellKind::Sh)
        }
    }

    #[test]
    fn a_caller_who_tells_no_path_gets_the_toolchains_one_who_does_gets_his_own() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let mut spec = spec(dir.path(), Layout::Host);
        let cargo = dir.path().join("home/.cargo/bin");
        assert_eq!(Sight::of(&spec, &[]).path.first(), Some(&cargo));
        spec.search_path = format!("/usr/bin:{}:/var", dir.path().join("w/bin").display());
        let sight = Sight::of(&spec, &[]);
        assert!(!sight.path.contains(&cargo));
        assert_eq!(sight.path.get(1), Some(&dir.path().join("w/bin")));
        assert_eq!(sight.left_out, [PathBuf::from("/var")]);
    }

    #[test]
    fn the_root_layout_covers_nothing_of_the_project() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let mut spec = spec(dir.path(), Layout::Root);
        spec.search_path = dir.path().join("w/bin").display().to_string();
        let sight = Sight::of(&spec, &[]);
        assert_eq!(
            (sight.tops.as_slice(), sight.covered.len()),
            ([PathBuf::from("var")].as_slice(), 0)
        );
        assert_eq!(sight.path.first(), Some(&PathBuf::from("/bin")));
        std::fs::create_dir(dir.path().join("w/var")).unwrap();
        let sight = Sight::of(&spec, &[]);
        assert_eq!(
            (sight.tops.len(), sight.covered.len(), sight.added.len()),
            (0, 2, 0)
        );
        let extra = dir.path().join("home/extra");
        assert!(unshown(&spec, &[]).eq([extra.as_path()]));
        let ours = [dir.path().join("w/var")];
        assert_eq!(Sight::of(&spec, &ours).covered.len(), 0);
    }
}
