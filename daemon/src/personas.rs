//! Owns: the personas and policies there are: the built-in ones and the user's own files beside the configuration; and a
//! project's `.agentd/policy.toml`.
//! Guarantees: a file is used whole or not at all, and what is wrong with it is said with line and column; a project's
//! file is read without following links, and can only tighten.

mod form;
mod read;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use crate::config::project::{self, read_file};
use crate::credentials::replace_file;
use crate::domain::persona::{Persona, ProjectPolicy};
use crate::domain::policy::Policy;
use crate::domain::rejection::Rejection;
use crate::domain::session::clip;

/// Most files of a kind that are looked at.
const FILES_MAX: usize = 500;
/// Where a project says how it wants to be worked on, relative to the Workspace.
pub const PROJECT_FILE: &str = ".agentd/policy.toml";

/// Which of the two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A persona.
    Persona,
    /// A policy.
    Policy,
}

impl Kind {
    fn dir(self) -> &'static str {
        match self {
            Self::Persona => "personas",
            Self::Policy => "policies",
        }
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Persona => "persona",
            Self::Policy => "policy",
        }
    }

    fn built_in(self) -> &'static [&'static str] {
        match self {
            Self::Persona => &Persona::BUILT_IN,
            Self::Policy => &Policy::BUILT_IN,
        }
    }
}

/// One persona or policy, to show and to edit.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    /// Its name.
    pub name: String,
    /// It, or why its file can't be used.
    pub read: Result<T, String>,
    /// The text to edit.
    pub toml: String,
    /// The file; `None`: built in.
    pub path: Option<PathBuf>,
}

/// The user's personas and policies.
#[derive(Debug, Clone)]
pub struct Personas {
    dir: PathBuf,
}

impl Personas {
    /// Those beside the configuration in `dir`.
    pub fn in_dir(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// All personas, the built-in ones first.
    pub fn personas(&self) -> Vec<Entry<Persona>> {
        let mut found: Vec<Entry<Persona>> = Persona::BUILT_IN
            .iter()
            .filter_map(|name| self.built_in_persona(name))
            .collect();
        found.extend(
            self.names(Kind::Persona)
                .iter()
                .filter_map(|name| self.own_persona(name)),
        );
        found
    }

    /// All policies, the built-in ones first.
    pub fn policies(&self) -> Vec<Entry<Policy>> {
        let mut found: Vec<Entry<Policy>> = Policy::BUILT_IN
            .iter()
            .filter_map(|name| built_in_policy(name))
            .collect();
        found.extend(
            self.names(Kind::Policy)
                .iter()
                .filter_map(|name| self.own_policy(name)),
        );
        found
    }

    /// One persona.
    pub fn persona(&self, name: &str) -> Result<Entry<Persona>, Rejection> {
        let found = self.built_in_persona(name).or_else(|| self.own_persona(name));
        found.ok_or_else(|| Rejection::PersonaNotFound {
            wanted: clip(name, 80),
            hints: self.hints(Kind::Persona, name),
        })
    }

    /// One policy.
    pub fn policy(&self, name: &str) -> Result<Entry<Policy>, Rejection> {
        let found = built_in_policy(name).or_else(|| self.own_policy(name));
        found.ok_or_else(|| Rejection::PolicyNotFound {
            wanted: clip(name, 80),
            hints: self.hints(Kind::Policy, name),
        })
    }

    /// What a session works by: the persona, with another policy in place of its own where one is named, tightened by
    /// the project's file. Also what the project asked for and did not get.
    pub fn resolve(
        &self,
        persona: &str,
        policy: &str,
        workspace: &Path,
    ) -> Result<(Persona, Vec<String>), Rejection> {
        let mut resolved = usable(Kind::Persona, self.persona(persona)?)?;
        if !policy.is_empty() {
            resolved.policy = usable(Kind::Policy, self.policy(policy)?)?;
        }
        let ignored = match self.project(workspace)? {
            Some(project) => resolved.tighten(&project),
            None => Vec::new(),
        };
        Ok((resolved, ignored))
    }

    /// What the project in a directory asks for; `None`: it says nothing.
    pub fn project(&self, workspace: &Path) -> Result<Option<ProjectPolicy>, Rejection> {
        let path = workspace.join(PROJECT_FILE);
        let invalid = |message: String| Rejection::PolicyInvalid {
            message,
            hints: vec![
                format!("mend or remove {}", path.display()),
                "agentctl policies show --help".into(),
            ],
        };
        match project::read(workspace, "policy.toml").map_err(invalid)? {
            Some(text) => read::project(&path, &text).map(Some).map_err(invalid),
            None => Ok(None),
        }
    }

    /// Keeps a persona's or policy's text.
    pub fn save(&self, kind: Kind, name: &str, toml: &str, create: bool) -> Result<(), Rejection> {
        check_name(kind, name)?;
        if kind.built_in().contains(&name) {
            return Err(Rejection::NameTaken {
                name: name.to_owned(),
                workspace: "the built-in ones; choose another name, it can begin from this one".into(),
            });
        }
        let path = self.path(kind, name);
        match (path.exists(), create) {
            (true, true) => {
                return Err(Rejection::NameTaken {
                    name: name.to_owned(),
                    workspace: path.display().to_string(),
                });
            }
            (false, false) => {
                let (wanted, hints) = (name.to_owned(), self.hints(kind, name));
                return Err(match kind {
                    Kind::Persona => Rejection::PersonaNotFound { wanted, hints },
                    Kind::Policy => Rejection::PolicyNotFound { wanted, hints },
                });
            }
            _ => {}
        }
        let read = match kind {
            Kind::Persona => {
                read::persona(&path, name, toml, &|policy| self.policy_of(policy, 0)).map(|_| ())
            }
            Kind::Policy => read::policy(&path, name, toml, &|base| self.policy_of(base, 0)).map(|_| ()),
        };
        read.map_err(|message| Rejection::PolicyInvalid {
            message,
            hints: vec!["nothing was kept; mend the text and send it again".into()],
        })?;
        let dir = self.dir.join(kind.dir());
        let io = |error: io::Error| Rejection::PolicyInvalid {
            message: format!("{}: {error}", path.display()),
            hints: Vec::new(),
        };
        std::fs::create_dir_all(&dir).map_err(io)?;
        replace_file(&path, &dir, toml.as_bytes()).map(|_| ()).map_err(io)
    }

    /// Takes a persona's or policy's file away.
    pub fn delete(&self, kind: Kind, name: &str) -> Result<(), Rejection> {
        if kind.built_in().contains(&name) {
            return Err(Rejection::InvalidArgument(format!(
                "'{name}' is built in and stays"
            )));
        }
        match kind {
            Kind::Persona => drop(self.persona(name)?),
            Kind::Policy => drop(self.policy(name)?),
        }
        if kind == Kind::Policy {
            let users = self.personas();
            let user = users
                .iter()
                .find(|one| one.read.as_ref().is_ok_and(|persona| persona.policy.name == name));
            if let Some(user) = user {
                return Err(Rejection::InvalidArgument(format!(
                    "the persona '{}' uses the policy '{name}'",
                    user.name
                )));
            }
        }
        std::fs::remove_file(self.path(kind, name)).map_err(|error| {
            Rejection::InvalidArgument(format!("{}: {error}", self.path(kind, name).display()))
        })
    }

    fn path(&self, kind: Kind, name: &str) -> PathBuf {
        self.dir.join(kind.dir()).join(format!("{name}.toml"))
    }

    fn names(&self, kind: Kind) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.join(kind.dir()))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".toml")?.to_owned()))
            .filter(|name| check_name(kind, name).is_ok() && !kind.built_in().contains(&name.as_str()))
            .take(FILES_MAX)
            .collect();
        names.sort();
        names
    }

    fn built_in_persona(&self, name: &str) -> Option<Entry<Persona>> {
        let persona = Persona::built_in(name)?;
        Some(Entry {
            toml: form::of_persona(&persona),
            name: persona.name.clone(),
            read: Ok(persona),
            path: None,
        })
    }

    fn own_persona(&self, name: &str) -> Option<Entry<Persona>> {
        let (path, text) = self.text(Kind::Persona, name)?;
        let read = text
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|text| read::persona(&path, name, text, &|policy| self.policy_of(policy, 0)));
        Some(Entry {
            name: name.to_owned(),
            read,
            toml: text.unwrap_or_default(),
            path: Some(path),
        })
    }

    fn own_policy(&self, name: &str) -> Option<Entry<Policy>> {
        self.own_policy_at(name, 0)
    }

    fn own_policy_at(&self, name: &str, depth: usize) -> Option<Entry<Policy>> {
        let (path, text) = self.text(Kind::Policy, name)?;
        let read = text
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|text| read::policy(&path, name, text, &|base| self.policy_of(base, depth + 1)));
        Some(Entry {
            name: name.to_owned(),
            read,
            toml: text.unwrap_or_default(),
            path: Some(path),
        })
    }

    /// A policy named in a file.
    fn policy_of(&self, name: &str, depth: usize) -> Result<Policy, String> {
        if depth > 4 {
            return Err("policies build on each other in a circle, or too deep".into());
        }
        let found = built_in_policy(name).or_else(|| self.own_policy_at(name, depth));
        match found {
            Some(entry) => entry.read,
            None => {
                let near = self.hints(Kind::Policy, name);
                Err(format!("no policy '{name}'. {}", near.join("; ")))
            }
        }
    }

    /// The file and its text; `None`: there is none.
    fn text(&self, kind: Kind, name: &str) -> Option<(PathBuf, Result<String, String>)> {
        check_name(kind, name).ok()?;
        let path = self.path(kind, name);
        match read_file(&path) {
            Ok(text) => Some((path, Ok(text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let why = format!("{}: {error}", path.display());
                Some((path, Err(why)))
            }
        }
    }

    fn hints(&self, kind: Kind, wanted: &str) -> Vec<String> {
        let mut names: Vec<String> = kind.built_in().iter().map(|name| (*name).to_owned()).collect();
        names.extend(self.names(kind));
        let near = crate::config::value::nearest(wanted, names.iter().map(String::as_str));
        let near = near.map(|near| format!("did you mean: {near}?"));
        near.into_iter()
            .chain([format!("there are: {}", names.join(", "))])
            .collect()
    }
}

/// The read form, or why it can't be used.
fn usable<T>(kind: Kind, entry: Entry<T>) -> Result<T, Rejection> {
    entry.read.map_err(|message| Rejection::PolicyInvalid {
        message,
        hints: vec![format!("agentctl {} edit {}", kind.dir(), entry.name)],
    })
}

fn built_in_policy(name: &str) -> Option<Entry<Policy>> {
    let policy = Policy::built_in(name)?;
    Some(Entry {
        name: name.to_owned(),
        toml: form::of_policy(&policy),
        read: Ok(policy),
        path: None,
    })
}

fn check_name(kind: Kind, name: &str) -> Result<(), Rejection> {
    let usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if !name.is_empty() && name.len() <= 32 && name.chars().all(usual) && !name.starts_with('-') {
        return Ok(());
    }
    Err(Rejection::InvalidArgument(format!(
        "a {}'s name has lower-case letters, digits, '-' and '_', at most 32",
        kind.word()
    )))
}
