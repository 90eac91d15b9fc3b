//! Owns: which files of a Workspace the host later executes or an agent later obeys.
//! Guarantees: decided on the path alone, without looking at the disk; letter case and dots in the path change nothing.

use std::path::{Component, Path};

const GIT: &str = "git runs hooks and filters configured here";
const EDITOR: &str = "an editor runs tasks and settings from here";
const SHELL: &str = "a shell runs this";
const AGENT: &str = "agents take instructions from this";
const AGENT_CONFIG: &str = "an agent takes its tools and permissions from this";
const PACKAGES: &str = "a package manager takes commands and credentials from this";
const CARGO: &str = "cargo runs linkers, runners and wrappers named here";
const CI: &str = "a build service runs this with your repository's secrets";
const HOOKS: &str = "this runs at your next commit";

/// Directories: everything below them counts, and they themselves.
const DIRECTORIES: &[(&str, &str)] = &[
    (".git", GIT),
    (".husky", HOOKS),
    (".githooks", HOOKS),
    (".vscode", EDITOR),
    (".idea", EDITOR),
    (".devcontainer", EDITOR),
    (".agentd", AGENT_CONFIG),
    (".claude", AGENT_CONFIG),
    (".codex", AGENT_CONFIG),
    (".cursor", AGENT_CONFIG),
    (".gemini", AGENT_CONFIG),
    (".circleci", CI),
];

/// File names, in whatever directory.
const NAMES: &[(&str, &str)] = &[
    (".gitmodules", GIT),
    (".gitconfig", GIT),
    (".envrc", SHELL),
    ("mise.toml", SHELL),
    (".mise.toml", SHELL),
    (".bashrc", SHELL),
    (".bash_profile", SHELL),
    (".bash_login", SHELL),
    (".profile", SHELL),
    (".zshrc", SHELL),
    (".zshenv", SHELL),
    (".zprofile", SHELL),
    (".mcp.json", AGENT_CONFIG),
    ("agents.md", AGENT),
    ("agents.override.md", AGENT),
    ("claude.md", AGENT),
    ("claude.local.md", AGENT),
    ("gemini.md", AGENT),
    (".cursorrules", AGENT),
    ("copilot-instructions.md", AGENT),
    (".npmrc", PACKAGES),
    (".yarnrc", PACKAGES),
    (".yarnrc.yml", PACKAGES),
    (".pnpmfile.cjs", PACKAGES),
    (".pypirc", PACKAGES),
    (".pre-commit-config.yaml", HOOKS),
    (".pre-commit-config.yml", HOOKS),
    ("lefthook.yml", HOOKS),
    (".lefthook.yml", HOOKS),
    (".gitlab-ci.yml", CI),
];

/// A directory and what directly below it counts.
const PAIRS: &[(&str, &str, &str)] = &[
    (".cargo", "config.toml", CARGO),
    (".cargo", "config", CARGO),
    (".cargo", "credentials.toml", PACKAGES),
    (".cargo", "credentials", PACKAGES),
    (".github", "workflows", CI),
    (".github", "actions", CI),
];

/// Why the path asks for a second look before it is written; `None` when it is an ordinary file.
pub fn protected(rel: &Path) -> Option<&'static str> {
    let mut parts: Vec<String> = Vec::new();
    for component in rel.components() {
        match component {
            // File systems that fold case treat `.GIT` as `.git`; so do git and we.
            Component::Normal(part) => parts.push(part.to_string_lossy().to_lowercase()),
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let directory = parts.iter().find_map(|part| {
        DIRECTORIES
            .iter()
            .find(|(name, _)| part == name)
            .map(|(_, why)| *why)
    });
    let name = || {
        parts
            .last()
            .and_then(|last| NAMES.iter().find(|(name, _)| last == name).map(|(_, why)| *why))
    };
    let pair = || {
        parts.windows(2).find_map(|window| match window {
            [dir, name] => PAIRS
                .iter()
                .find(|pair| dir == pair.0 && name == pair.1)
                .map(|pair| pair.2),
            _ => None,
        })
    };
    directory.or_else(name).or_else(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_executes_or_an_agent_obeys_is_protected() {
        for path in [
            ".git/hooks/pre-commit",
            ".git/config",
            ".git",
            "vendor/lib/.git/config",
            "sub/.git",
            ".gitmodules",
            ".envrc",
            "deep/.envrc",
            ".vscode/tasks.json",
            ".idea/workspace.xml",
            ".mcp.json",
            "AGENTS.md",
            "docs/AGENTS.md",
            "CLAUDE.md",
            ".cargo/config.toml",
            "crates/x/.cargo/config",
            ".npmrc",
            ".pypirc",
            ".github/workflows/ci.yml",
            ".husky/pre-commit",
            ".pre-commit-config.yaml",
            ".agentd/config.toml",
        ] {
            assert!(protected(Path::new(path)).is_some(), "{path}");
        }
    }

    #[test]
    fn case_and_dots_hide_nothing() {
        for path in [
            ".GIT/config",
            ".Git/Hooks/x",
            "a/../.git/config",
            "./.git//config",
            "agents.MD",
            ".VsCode/x",
        ] {
            assert!(protected(Path::new(path)).is_some(), "{path}");
        }
    }

    #[test]
    fn ordinary_files_are_not() {
        for path in [
            "src/main.c",
            "README.md",
            ".gitignore",
            ".gitattributes",
            "git/config",
            ".github/ISSUE_TEMPLATE.md",
            "config.toml",
            "Makefile",
            "a.git",
            "hooks/x",
            ".cargo/registry",
        ] {
            assert_eq!(protected(Path::new(path)), None, "{path}");
        }
    }
}
