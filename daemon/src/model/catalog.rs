//! Owns: what is known of models without asking: context sizes and list prices, dated, overridable by settings.
//! Guarantees: an unknown figure is `None`, never 0; money is whole micro-dollars, computed without floats.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::usage::{Cost, CostSource, Tokens};

/// When the built-in figures were taken.
pub const AS_OF: &str = "2026-11";

const TABLE: &str = include_str!("catalog.tsv");

/// Prices in micro-dollars per million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Input that was not cached.
    pub input: Option<u64>,
    /// Input read from the cache.
    pub cached_input: Option<u64>,
    /// Input written to the cache.
    pub cache_write: Option<u64>,
    /// Output, reasoning included.
    pub output: Option<u64>,
}

/// What is known of a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entry {
    /// Most input tokens.
    pub context_tokens: Option<u64>,
    /// The usual prices.
    pub rates: Rates,
    /// Above this many input tokens in one request, the whole request costs these.
    pub long: Option<(u64, Rates)>,
}

/// What a person knows better: `[models."provider/name"]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelOverride {
    /// Most input tokens.
    pub context_tokens: Option<u64>,
    /// US dollars per million input tokens.
    pub input_usd_per_mtok: Option<f64>,
    /// US dollars per million cached input tokens.
    pub cached_input_usd_per_mtok: Option<f64>,
    /// US dollars per million output tokens.
    pub output_usd_per_mtok: Option<f64>,
    /// The edit tool it is offered.
    pub edit_dialect: Option<crate::domain::tool::EditDialect>,
}

/// The built-in names.
pub fn names() -> impl Iterator<Item = &'static str> {
    rows().filter_map(|row| row.split('\t').next())
}

/// True for a model of the table.
pub fn knows(name: &str) -> bool {
    built_in(name).is_some()
}

/// What is known of `provider/name`, overrides applied.
pub fn lookup(name: &str, overrides: &BTreeMap<String, ModelOverride>) -> Entry {
    let mut entry = built_in(name).unwrap_or_default();
    if let Some(known) = overrides.get(name) {
        entry.context_tokens = known.context_tokens.or(entry.context_tokens);
        let micro = |usd: Option<f64>| {
            usd.filter(|u| (0.0..1e9).contains(u))
                .map(|u| (u * 1e6).round() as u64)
        };
        if known.input_usd_per_mtok.is_some() || known.output_usd_per_mtok.is_some() {
            // A person's prices stand alone: mixing them with the table's would be neither's.
            let input = micro(known.input_usd_per_mtok);
            entry.rates = Rates {
                input,
                cached_input: micro(known.cached_input_usd_per_mtok).or(input),
                cache_write: input,
                output: micro(known.output_usd_per_mtok),
            };
            entry.long = None;
        }
    }
    entry
}

/// What a request cost: the server's own figure if it gave one, else tokens times list price.
pub fn cost(entry: &Entry, tokens: Option<&Tokens>, reported_micro_usd: Option<u64>) -> Option<Cost> {
    if let Some(micro_usd) = reported_micro_usd {
        return Some(Cost {
            micro_usd,
            source: CostSource::Reported,
        });
    }
    let tokens = tokens?;
    let rates = match &entry.long {
        Some((above, long)) if tokens.input > *above => long,
        _ => &entry.rates,
    };
    let cached = tokens.cached_input.min(tokens.input);
    let written = tokens.cache_write.min(tokens.input - cached);
    let fresh = tokens.input - cached - written;
    // Without a price of its own, cached input counts as ordinary input: too much rather than too little.
    let of = |count: u64, rate: Option<u64>| {
        if count == 0 {
            Some(0)
        } else {
            rate.map(|r| u128::from(count) * u128::from(r))
        }
    };
    let sum = of(fresh, rates.input)?
        + of(cached, rates.cached_input.or(rates.input))?
        + of(written, rates.cache_write.or(rates.input))?
        + of(tokens.output, rates.output)?;
    let micro_usd = u64::try_from((sum + 500_000) / 1_000_000).ok()?;
    Some(Cost {
        micro_usd,
        source: CostSource::Catalog,
    })
}

fn rows() -> impl Iterator<Item = &'static str> {
    TABLE
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// The row of this name, or of the name without its date (`gpt-5-2025-08-07`), or of the provider behind OpenRouter.
fn built_in(name: &str) -> Option<Entry> {
    let name = name.strip_prefix("openrouter/").unwrap_or(name);
    row(name).or_else(|| row(undated(name)))
}

fn row(name: &str) -> Option<Entry> {
    rows().find_map(|row| {
        let mut cells = row.split('\t');
        if cells.next() != Some(name) {
            return None;
        }
        let mut figure = || cells.next().and_then(|cell| cell.parse::<u64>().ok());
        let context_tokens = figure();
        let rates = Rates {
            input: figure(),
            cached_input: figure(),
            cache_write: figure(),
            output: figure(),
        };
        let above = figure();
        let long = Rates {
            input: figure(),
            cached_input: figure(),
            cache_write: figure(),
            output: figure(),
        };
        Some(Entry {
            context_tokens,
            rates,
            long: above.map(|above| (above, long)),
        })
    })
}

fn undated(name: &str) -> &str {
    let is_date = |tail: &str| {
        let digits = tail.bytes().filter(u8::is_ascii_digit).count();
        digits == 8 && tail.bytes().all(|b| b.is_ascii_digit() || b == b'-')
    };
    let halves = name
        .match_indices('-')
        .filter_map(|(at, _)| Some((name.get(..at)?, name.get(at + 1..)?)));
    let mut dated = halves.filter(|(_, tail)| is_date(tail));
    dated.next().map_or(name, |(head, _)| head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_whole() {
        assert!(names().count() > 30);
        for name in names() {
            let entry = row(name).unwrap();
            assert!(
                entry.context_tokens.is_some() && entry.rates.input.is_some() && entry.rates.output.is_some(),
                "{name}"
            );
        }
    }

    #[test]
    fn money_is_tokens_times_price() {
        let entry = lookup("openai/gpt-4o-2024-11-20", &BTreeMap::new());
        assert_eq!(entry.context_tokens, Some(128_000));
        let tokens = Tokens {
            input: 1000,
            cached_input: 400,
            output: 100,
            ..Tokens::default()
        };
        // 600 * 2.50 + 400 * 1.25 + 100 * 10 dollars per million.
        assert_eq!(
            cost(&entry, Some(&tokens), None),
            Some(Cost {
                micro_usd: 3000,
                source: CostSource::Catalog
            })
        );
        assert_eq!(
            cost(&entry, Some(&tokens), Some(7)).map(|c| c.source),
            Some(CostSource::Reported)
        );
    }

    #[test]
    fn the_unknown_stays_unknown() {
        let entry = lookup("local/olmo", &BTreeMap::new());
        assert_eq!(entry, Entry::default());
        assert_eq!(
            cost(
                &entry,
                Some(&Tokens {
                    input: 1,
                    ..Tokens::default()
                }),
                None
            ),
            None
        );
        assert_eq!(cost(&entry, None, None), None);
    }

    #[test]
    fn a_person_knows_better() {
        let own = ModelOverride {
            context_tokens: Some(9),
            input_usd_per_mtok: Some(1.5),
            output_usd_per_mtok: Some(2.0),
            ..ModelOverride::default()
        };
        let entry = lookup(
            "openai/gpt-4o",
            &BTreeMap::from([("openai/gpt-4o".to_owned(), own)]),
        );
        assert_eq!(
            (entry.context_tokens, entry.rates.input, entry.rates.cached_input),
            (Some(9), Some(1_500_000), Some(1_500_000))
        );
    }
}
