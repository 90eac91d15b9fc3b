//! Owns: the package registries of ecosystems, and what is asked about together.
//! Guarantees: pure; a registry is asked about with the others only where the workspace's own files tell of its ecosystem.

use super::network::Target;

/// The package registries of one ecosystem.
struct Registry {
    name: &'static str,
    /// Files at a workspace's root that tell of it.
    markers: &'static [&'static str],
    hosts: &'static [&'static str],
}

const REGISTRIES: &[Registry] = &[
    Registry {
        name: "Rust",
        markers: &["Cargo.toml"],
        hosts: &["index.crates.io", "static.crates.io", "crates.io"],
    },
    Registry {
        name: "Node",
        markers: &["package.json"],
        hosts: &["registry.npmjs.org", "registry.yarnpkg.com"],
    },
    Registry {
        name: "Python",
        markers: &[
            "pyproject.toml",
            "requirements.txt",
            "setup.py",
            "setup.cfg",
            "Pipfile",
            "uv.lock",
        ],
        hosts: &["pypi.org", "files.pythonhosted.org"],
    },
    Registry {
        name: "Go",
        markers: &["go.mod", "go.work"],
        hosts: &["proxy.golang.org", "sum.golang.org"],
    },
    Registry {
        name: "Ruby",
        markers: &["Gemfile"],
        hosts: &["rubygems.org", "index.rubygems.org"],
    },
    Registry {
        name: "PHP",
        markers: &["composer.json"],
        hosts: &["repo.packagist.org", "packagist.org"],
    },
    Registry {
        name: "Java",
        markers: &[
            "pom.xml",
            "build.gradle",
            "build.gradle.kts",
            "settings.gradle",
            "settings.gradle.kts",
        ],
        hosts: &["repo.maven.apache.org", "repo1.maven.org", "plugins.gradle.org"],
    },
    Registry {
        name: ".NET",
        markers: &["global.json", "Directory.Packages.props", "nuget.config"],
        hosts: &["api.nuget.org"],
    },
    Registry {
        name: "Elixir",
        markers: &["mix.exs"],
        hosts: &["hex.pm", "repo.hex.pm"],
    },
];

/// What is asked about together with `target`: the registries of the workspace's ecosystems where it is one of them, else
/// itself alone. With the words of the question. `has` tells whether a file is at the workspace's root.
pub fn question(target: &Target, has: &dyn Fn(&str) -> bool) -> (Vec<Target>, String) {
    let present: Vec<&Registry> = REGISTRIES
        .iter()
        .filter(|one| one.markers.iter().any(|file| has(file)))
        .collect();
    let is_registry = target.port() == 443 && present.iter().any(|one| one.hosts.contains(&target.host()));
    if !is_registry {
        return (vec![target.clone()], format!("reach {target}"));
    }
    let hosts = present
        .iter()
        .flat_map(|one| one.hosts)
        .filter_map(|host| Target::new(host, 443).ok())
        .collect();
    let names: Vec<&str> = present.iter().map(|one| one.name).collect();
    let words = format!(
        "reach the package registries of this project ({}), {} first",
        names.join(", "),
        target.host()
    );
    (hosts, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text, Some(443)).unwrap()
    }

    #[test]
    fn registries_are_one_question() {
        let has = |file: &str| file == "Cargo.toml" || file == "package.json";
        let (hosts, words) = question(&target("static.crates.io"), &has);
        assert_eq!(hosts.len(), 5);
        assert!(hosts.contains(&target("registry.npmjs.org")));
        assert_eq!(
            words,
            "reach the package registries of this project (Rust, Node), static.crates.io first"
        );
        for alone in ["pypi.org", "crates.io:80", "github.com"] {
            assert_eq!(question(&target(alone), &has).0, [target(alone)]);
        }
        assert_eq!(question(&target("crates.io"), &|_| false).0.len(), 1);
    }
}
