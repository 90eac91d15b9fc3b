//! Owns: which of the person's own compilers and version managers a Jail shows, what in them stays hidden, and its PATH.
//! Guarantees: only the places listed here, or named by the configuration, are shown, read-only; files that hold
//! credentials are masked wherever a mount would show them; no directory is on the PATH that the Jail has not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::spec::HOME;

/// A version manager or compiler below the home directory.
struct Known {
    /// The variable that moves it.
    var: Option<&'static str>,
    /// Where it usually is, below the home directory.
    at: &'static str,
    /// What of it is shown; `""`: all.
    shown: &'static [&'static str],
    /// Where its programs are: on the PATH of those who did not tell theirs.
    bins: &'static [&'static str],
    /// Whether the variable is set inside: home is elsewhere there.
    told: bool,
}

const fn known(
    var: &'static str,
    at: &'static str,
    shown: &'static [&'static str],
    bins: &'static [&'static str],
    told: bool,
) -> Known {
    Known {
        var: if var.is_empty() { None } else { Some(var) },
        at,
        shown,
        bins,
        told,
    }
}

/// ADR 0022 says why these and no others: `~/.local/bin` has people's own scripts, with who knows what in them.
const KNOWN: &[Known] = &[
    known("RUSTUP_HOME", ".rustup", &[""], &[], true),
    // Never all of it: credentials and the registry's index are there too. Inside, CARGO_HOME is a cache of its own.
    known("CARGO_HOME", ".cargo", &["bin", "registry"], &["bin"], false),
    known("NVM_DIR", ".nvm", &[""], &[], true),
    known("FNM_DIR", ".local/share/fnm", &[""], &[], true),
    known("VOLTA_HOME", ".volta", &["bin", "tools"], &["bin"], true),
    known("BUN_INSTALL", ".bun", &["bin"], &["bin"], true),
    known("DENO_INSTALL", ".deno", &["bin"], &["bin"], true),
    known("PYENV_ROOT", ".pyenv", &[""], &["shims", "bin"], true),
    known("", ".local/share/uv", &[""], &[], false),
    known("", ".local/share/pipx", &[""], &[], false),
    known("RBENV_ROOT", ".rbenv", &[""], &["shims", "bin"], true),
    known("ASDF_DATA_DIR", ".asdf", &[""], &["shims", "bin"], true),
    known("MISE_DATA_DIR", ".local/share/mise", &[""], &["shims"], true),
    known("SDKMAN_DIR", ".sdkman", &["candidates", "bin"], &[], true),
    known("GHCUP_INSTALL_BASE_PREFIX", ".ghcup", &[""], &["bin"], false),
    known("npm_config_cache", ".npm", &["_cacache"], &[], false),
    known(
        "PIP_CACHE_DIR",
        ".cache/pip",
        &["http", "http-v2", "wheels"],
        &[],
        false,
    ),
    known("", "go", &["bin", "pkg/mod/cache/download"], &["bin"], false),
    known("", "sdk", &[""], &[], false),
];

/// Of the home directory itself: a single file that version managers read.
const HOME_FILES: &[&str] = &[".tool-versions"];

/// Where credentials lie below the home directory.
const SECRETS: &[&str] = &[
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".pypirc",
    ".netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".config/gh",
    ".config/hub",
    ".config/pip/pip.conf",
    ".config/pypoetry/auth.toml",
    ".config/gcloud",
    ".config/mise",
    ".config/agentd",
    ".gem/credentials",
    ".gradle/gradle.properties",
    ".m2/settings.xml",
    ".m2/settings-security.xml",
    ".docker",
    ".kube",
    ".aws",
    ".azure",
    ".ssh",
    ".gnupg",
    ".password-store",
    ".local/share/keyrings",
    ".nvm/.npmrc",
    ".pip/pip.conf",
];

/// Names that hold credentials at the top of any directory that is shown.
const SECRET_NAMES: &[&str] = &[
    "credentials",
    "credentials.toml",
    ".npmrc",
    ".pypirc",
    ".netrc",
    ".git-credentials",
];

/// Always on the PATH, at its end.
const STANDARD: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The variables that tell where tools are.
pub fn variables() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().filter_map(|tool| tool.var)
}

/// What a Jail shows of the person's own tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toolchains {
    /// Host directories, read-only, at their own paths; a parent before what lies in it.
    pub mounts: Vec<PathBuf>,
    /// Files and directories in them that are hidden.
    pub masked: Vec<PathBuf>,
    /// Host files and where they are inside.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// Variables that tell the tools where they are.
    pub env: BTreeMap<String, String>,
    /// Where programs are, for callers whose PATH is not known.
    pub bins: Vec<PathBuf>,
    /// The person's caches of package managers, as layers below the Jail's own.
    pub layers: Vec<Layer>,
}

/// A package manager whose cache can have a layer below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// cargo's registry.
    Cargo,
    /// npm's.
    Npm,
    /// pip's.
    Pip,
}

/// What the person has downloaded already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Whose it is.
    pub cache: Cache,
    /// Host directory, shown read-only.
    pub at: PathBuf,
}

impl Toolchains {
    fn layer(&mut self, cache: Cache, at: PathBuf) {
        self.layers.extend(at.is_dir().then_some(Layer { cache, at }));
    }
}

/// Looks for them. `configured` are the directories that the user's configuration adds; `search_path` is a PATH whose
/// directories below `/opt` and `/nix` count too. `automatic` false: only what is configured.
pub fn find(
    home: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
    configured: &[PathBuf],
    search_path: &str,
    automatic: bool,
) -> Toolchains {
    let mut found = Toolchains::default();
    let mut wanted: BTreeSet<PathBuf> = configured.iter().filter(|dir| dir.exists()).cloned().collect();
    if automatic {
        if let Some(home) = home {
            of_home(home, env, &mut found, &mut wanted);
        }
        wanted.extend(std::env::split_paths(search_path).filter_map(|dir| package_of(&dir)));
    }
    for dir in wanted {
        // In order, so a parent came before.
        if !found.mounts.iter().any(|parent| dir.starts_with(parent)) {
            found.mounts.push(dir);
        }
    }
    found.masked = masked(home, &found.mounts);
    found
}

fn of_home(
    home: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    found: &mut Toolchains,
    wanted: &mut BTreeSet<PathBuf>,
) {
    for tool in KNOWN {
        let moved = tool.var.and_then(env).map(PathBuf::from);
        let base = moved
            .filter(|dir| dir.is_absolute() && dir.parent().is_some())
            .unwrap_or_else(|| home.join(tool.at));
        if !base.is_dir() {
            continue;
        }
        wanted.extend(
            tool.shown
                .iter()
                .map(|part| plain(&base, part))
                .filter(|dir| dir.is_dir()),
        );
        found.bins.extend(
            tool.bins
                .iter()
                .map(|bin| base.join(bin))
                .filter(|dir| dir.is_dir()),
        );
        if let Some(var) = tool.var.filter(|_| tool.told) {
            found.env.insert(var.to_owned(), base.display().to_string());
        }
        match tool.at {
            ".cargo" => found.layer(Cache::Cargo, base.join("registry")),
            ".npm" => found.layer(Cache::Npm, base.join("_cacache")),
            ".cache/pip" => found.layer(Cache::Pip, base),
            "go" if base.join("pkg/mod/cache/download").is_dir() => {
                let layer = base.join("pkg/mod/cache/download");
                let proxy = format!("file://{},https://proxy.golang.org,direct", layer.display());
                found.env.insert("GOPROXY".to_owned(), proxy);
            }
            _ => {}
        }
    }
    for name in HOME_FILES {
        let file = home.join(name);
        if file.is_file() {
            found.files.push((file, Path::new(HOME).join(name)));
        }
    }
}

fn plain(base: &Path, part: &str) -> PathBuf {
    if part.is_empty() {
        base.to_owned()
    } else {
        base.join(part)
    }
}

/// `/opt/NAME` of a directory below it; the store of nix for one of its profiles.
fn package_of(dir: &Path) -> Option<PathBuf> {
    if let Ok(rest) = dir.strip_prefix("/opt") {
        let package = Path::new("/opt").join(rest.iter().next()?);
        return Some(package).filter(|package| package.is_dir());
    }
    let nix = dir.starts_with("/nix") || dir.ends_with(".nix-profile/bin");
    Some(PathBuf::from("/nix/store")).filter(|store| nix && store.is_dir())
}

/// What of `mounts` must stay hidden.
pub fn masked(home: Option<&Path>, mounts: &[PathBuf]) -> Vec<PathBuf> {
    let of_home = home
        .into_iter()
        .flat_map(|home| SECRETS.iter().map(|name| home.join(name)));
    let at_top = mounts
        .iter()
        .flat_map(|dir| SECRET_NAMES.iter().map(|name| dir.join(name)));
    let hidden: BTreeSet<PathBuf> = of_home
        .filter(|path| mounts.iter().any(|dir| path.starts_with(dir)))
        .chain(at_top)
        .filter(|path| path.symlink_metadata().is_ok())
        .collect();
    hidden.into_iter().collect()
}

/// The directories of a PATH that a Jail has, standard ones last, and those that it has not. `inside` tells how a host
/// directory is called there, if it is.
pub fn search_path(
    asked: &str,
    bins: &[PathBuf],
    inside: &dyn Fn(&Path) -> Option<PathBuf>,
) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    let wanted = std::env::split_paths(asked).filter(|dir| dir.is_absolute());
    let standard = STANDARD.iter().map(PathBuf::from);
    for dir in bins.iter().cloned().chain(wanted).chain(standard) {
        let system = STANDARD.iter().any(|s| Path::new(s) == dir) || dir.starts_with("/usr");
        let name = if system { Some(dir.clone()) } else { inside(&dir) };
        match name {
            Some(name) if !kept.contains(&name) => kept.push(name),
            None if !left_out.contains(&dir) && dir.is_dir() => left_out.push(dir),
            _ => {}
        }
    }
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for sub in [
            ".rustup/toolchains",
            ".cargo/bin",
            ".cargo/registry",
            ".pyenv/shims",
            ".ssh",
            ".local/bin",
            "elsewhere",
        ] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        for file in [
            ".cargo/credentials.toml",
            ".npmrc",
            ".tool-versions",
            ".pyenv/.pypirc",
        ] {
            std::fs::write(dir.path().join(file), "secret").unwrap();
        }
        dir
    }

    #[test]
    fn compilers_are_found_and_nothing_else() {
        let dir = home();
        let at = |name: &str| dir.path().join(name);
        let found = find(Some(dir.path()), &|_| None, &[], "", true);
        assert_eq!(
            found.mounts,
            [
                at(".cargo/bin"),
                at(".cargo/registry"),
                at(".pyenv"),
                at(".rustup")
            ]
        );
        assert_eq!(found.masked, [at(".pyenv/.pypirc")]);
        assert_eq!(
            found.env.get("RUSTUP_HOME"),
            Some(&at(".rustup").display().to_string())
        );
        assert!(!found.env.contains_key("CARGO_HOME"));
        assert_eq!(
            found.files,
            [(at(".tool-versions"), PathBuf::from("/tmp/home/.tool-versions"))]
        );
        let none = find(Some(dir.path()), &|_| None, &[], "", false);
        assert_eq!(none, Toolchains::default());
    }

    #[test]
    fn a_variable_moves_a_toolchain() {
        let dir = home();
        let moved = dir.path().join("elsewhere");
        let env = |name: &str| (name == "RUSTUP_HOME").then(|| moved.display().to_string());
        let found = find(Some(dir.path()), &env, &[], "", true);
        assert!(found.mounts.contains(&moved) && !found.mounts.contains(&dir.path().join(".rustup")));
        let relative = find(Some(dir.path()), &|_| Some("x".into()), &[], "", true);
        assert!(relative.mounts.contains(&dir.path().join(".rustup")));
    }

    #[test]
    fn credentials_are_masked_wherever_a_configured_mount_shows_them() {
        let dir = home();
        let at = |name: &str| dir.path().join(name);
        let found = find(Some(dir.path()), &|_| None, &[at(""), at("none")], "", false);
        assert_eq!(
            found.masked,
            [at(".cargo/credentials.toml"), at(".npmrc"), at(".ssh")]
        );
        let cargo = find(Some(dir.path()), &|_| None, &[at(".cargo")], "", false);
        assert_eq!(cargo.masked, [at(".cargo/credentials.toml")]);
    }

    #[test]
    fn the_path_has_what_the_jail_has_in_its_order() {
        let inside = |dir: &Path| (dir == Path::new("/home/u/.cargo/bin")).then(|| dir.to_owned());
        let (kept, left_out) = search_path(
            "/home/u/.cargo/bin:.::relative:/usr/bin:/etc:/home/u/.cargo/bin",
            &[],
            &inside,
        );
        let expected: Vec<PathBuf> = [
            "/home/u/.cargo/bin",
            "/usr/bin",
            "/usr/local/sbin",
            "/usr/local/bin",
            "/usr/sbin",
            "/sbin",
            "/bin",
        ]
        .map(PathBuf::from)
        .into();
        assert_eq!((kept, left_out), (expected, vec![PathBuf::from("/etc")]));
    }
}
