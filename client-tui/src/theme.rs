//! Owns: how things look: one table of roles per theme.
//! Guarantees: only the terminal's own 16 colours are used; `mono` and `NO_COLOR` use none, and every state
//! stays readable without any.

use ratatui::style::{Color, Modifier, Style};

/// What a piece of the screen is; each theme says how that looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Theme {
    pub(crate) name: &'static str,
    /// Only ASCII glyphs.
    pub(crate) ascii: bool,
    pub(crate) text: Style,
    pub(crate) dim: Style,
    pub(crate) strong: Style,
    pub(crate) rule: Style,
    pub(crate) accent: Style,
    pub(crate) you: Style,
    pub(crate) tool: Style,
    pub(crate) ok: Style,
    pub(crate) bad: Style,
    pub(crate) needs: Style,
    pub(crate) working: Style,
    pub(crate) code: Style,
    pub(crate) heading: Style,
    pub(crate) link: Style,
    pub(crate) select: Style,
    pub(crate) key: Style,
}

/// Names that `--theme` and the palette offer.
pub(crate) const NAMES: &[&str] = &["dark", "light", "high-contrast", "mono", "deuteranopia", "ascii"];

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

const fn ink(color: Color) -> Style {
    Style::new().fg(color)
}

const DARK: Theme = Theme {
    name: "dark",
    ascii: false,
    text: PLAIN,
    dim: ink(Color::DarkGray),
    strong: BOLD,
    rule: ink(Color::DarkGray),
    accent: ink(Color::Cyan),
    you: ink(Color::Cyan).add_modifier(Modifier::BOLD),
    tool: ink(Color::Blue),
    ok: ink(Color::Green),
    bad: ink(Color::Red),
    needs: ink(Color::Yellow).add_modifier(Modifier::BOLD),
    working: ink(Color::Green),
    code: ink(Color::LightBlue),
    heading: BOLD,
    link: ink(Color::Cyan).add_modifier(Modifier::UNDERLINED),
    select: Style::new().add_modifier(Modifier::REVERSED),
    key: ink(Color::Cyan),
};

const LIGHT: Theme = Theme {
    name: "light",
    accent: ink(Color::Blue),
    you: ink(Color::Blue).add_modifier(Modifier::BOLD),
    tool: ink(Color::Magenta),
    needs: ink(Color::Red).add_modifier(Modifier::BOLD),
    code: ink(Color::Magenta),
    link: ink(Color::Blue).add_modifier(Modifier::UNDERLINED),
    key: ink(Color::Blue),
    ..DARK
};

const HIGH_CONTRAST: Theme = Theme {
    name: "high-contrast",
    text: ink(Color::White),
    dim: ink(Color::White),
    rule: ink(Color::White),
    strong: ink(Color::White).add_modifier(Modifier::BOLD),
    accent: ink(Color::LightCyan).add_modifier(Modifier::BOLD),
    tool: ink(Color::LightCyan),
    ok: ink(Color::LightGreen).add_modifier(Modifier::BOLD),
    bad: ink(Color::LightRed).add_modifier(Modifier::BOLD),
    needs: ink(Color::LightYellow).add_modifier(Modifier::BOLD.union(Modifier::UNDERLINED)),
    working: ink(Color::LightGreen),
    code: ink(Color::LightYellow),
    key: ink(Color::LightCyan).add_modifier(Modifier::BOLD),
    ..DARK
};

const MONO: Theme = Theme {
    name: "mono",
    dim: PLAIN,
    rule: PLAIN,
    accent: BOLD,
    you: BOLD,
    tool: PLAIN,
    ok: PLAIN,
    bad: BOLD,
    needs: Style::new().add_modifier(Modifier::BOLD.union(Modifier::REVERSED)),
    working: PLAIN,
    code: PLAIN,
    link: Style::new().add_modifier(Modifier::UNDERLINED),
    key: BOLD,
    ..DARK
};

const DEUTERANOPIA: Theme = Theme {
    name: "deuteranopia",
    ok: ink(Color::Blue),
    working: ink(Color::Blue),
    bad: ink(Color::Yellow).add_modifier(Modifier::BOLD),
    needs: ink(Color::Yellow).add_modifier(Modifier::BOLD.union(Modifier::UNDERLINED)),
    ..DARK
};

const ASCII: Theme = Theme {
    name: "ascii",
    ascii: true,
    ..MONO
};

/// The theme of that name.
pub(crate) fn by_name(name: &str) -> Option<Theme> {
    [DARK, LIGHT, HIGH_CONTRAST, MONO, DEUTERANOPIA, ASCII]
        .into_iter()
        .find(|theme| theme.name == name)
}

/// The theme for this terminal: without colour where `NO_COLOR` says so, light on a light background.
pub(crate) fn automatic(no_color: bool, light: bool) -> Theme {
    match (no_color, light) {
        (true, _) => MONO,
        (_, true) => LIGHT,
        _ => DARK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_theme() {
        for name in NAMES {
            assert_eq!(by_name(name).unwrap().name, *name);
        }
    }

    #[test]
    fn mono_has_no_colour() {
        let looks = [
            MONO.text,
            MONO.dim,
            MONO.bad,
            MONO.needs,
            MONO.ok,
            MONO.select,
            MONO.code,
            MONO.link,
        ];
        assert!(looks.iter().all(|style| style.fg.is_none() && style.bg.is_none()));
    }
}
