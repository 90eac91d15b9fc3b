//! Owns: what providers listed last, kept on disk for the time when they can't be asked.
//! Guarantees: nothing is written when nothing changed; an unreadable file counts as none.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient;
use crate::clock::now_us;

/// A model as its provider lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Its name there.
    pub(crate) id: String,
    /// Its context in tokens, where the provider says it.
    pub(crate) context_tokens: Option<u64>,
    /// Whether it can call tools, where the provider says it.
    pub(crate) tools: Option<bool>,
}

/// A provider's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// When it was got first with this content, microseconds since the epoch.
    pub(crate) time_us: i64,
    /// The models.
    pub(crate) models: Vec<Listed>,
}

/// The lists, by provider.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    path: Option<PathBuf>,
    lists: Mutex<Option<BTreeMap<String, Kept>>>,
}

impl Shelf {
    /// Lists in this file.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self {
            path: Some(path),
            lists: Mutex::default(),
        }
    }

    /// What a provider listed last.
    pub(crate) fn find(&self, provider: &str) -> Option<Kept> {
        self.with(|lists| lists.get(provider).cloned())
    }

    /// A provider listed these.
    pub(crate) fn keep(&self, provider: &str, models: &[Listed]) {
        let changed = self.with(|lists| {
            if lists.get(provider).is_some_and(|kept| kept.models == models) {
                return None;
            }
            lists.insert(
                provider.to_owned(),
                Kept {
                    time_us: now_us(),
                    models: models.to_vec(),
                },
            );
            serde_json::to_string(lists).ok()
        });
        if let (Some(text), Some(path)) = (changed, &self.path)
            // Half a list counts as none: nothing need be durable.
            && let Err(error) = std::fs::write(path, text)
        {
            tracing::warn!(%error, "the list of models could not be kept");
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Kept>) -> T) -> T {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let lists = lists.get_or_insert_with(|| {
            let text = self.path.as_ref().and_then(|path| std::fs::read(path).ok());
            text.and_then(|text| serde_json::from_slice(&text).ok())
                .unwrap_or_default()
        });
        work(lists)
    }
}

/// The models in a provider's answer.
pub(crate) fn listed(list: &Value) -> Vec<Listed> {
    const MOST: usize = 2000;
    let Some(entries) = list.get("data").and_then(Value::as_array) else {
        return Vec::new();
    };
    entries.iter().take(MOST).filter_map(one).collect()
}

fn one(entry: &Value) -> Option<Listed> {
    let id = entry
        .get("id")?
        .as_str()
        .filter(|id| !id.is_empty() && id.len() <= 200)?;
    let id = id.strip_prefix("models/").unwrap_or(id);
    let context_tokens = [
        "max_input_tokens",
        "context_length",
        "max_model_len",
        "context_window",
        "max_context_length",
    ]
    .iter()
    .find_map(|name| lenient::number(entry.get(*name)))
    // llama.cpp says it among the file's facts.
    .or_else(|| lenient::number(entry.get("meta").and_then(|meta| meta.get("n_ctx"))));
    let names = |list: &Value| {
        let mut names = list.as_array()?.iter().filter_map(Value::as_str);
        Some(names.any(|name| name == "tools" || name == "tool_use"))
    };
    let tools = entry
        .get("supported_parameters")
        .and_then(names)
        .or_else(|| match entry.get("capabilities")? {
            list @ Value::Array(_) => names(list),
            object => object.get("function_calling")?.as_bool(),
        })
        .or_else(|| (!talks(id)).then_some(false));
    Some(Listed {
        id: super::error::excerpt(id),
        context_tokens,
        tools,
    })
}

/// False for what is no language model, as far as names tell.
fn talks(id: &str) -> bool {
    let id = id.to_ascii_lowercase();
    let others = [
        "embed",
        "whisper",
        "tts",
        "dall-e",
        "moderation",
        "rerank",
        "transcribe",
        "sora",
        "babbage",
        "davinci",
        "image",
        "audio",
        "realtime",
        "speech",
        "guard",
    ];
    !others.iter().any(|word| id.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_says_of_tools_and_context_is_read() {
        let list = serde_json::json!({"data": [
            {"id": "a", "supported_parameters": ["tools", "seed"], "context_length": 8192},
            {"id": "b", "supported_parameters": ["seed"]},
            {"id": "c", "capabilities": {"function_calling": true}, "max_context_length": "32768"},
            {"id": "text-embedding-3", "object": "model"},
            {"id": "d", "meta": {"n_ctx": 4096}},
            {"id": ""}, {"name": "no id"}
        ]});
        let found: Vec<_> = listed(&list)
            .into_iter()
            .map(|m| (m.id, m.context_tokens, m.tools))
            .collect();
        let want = [
            ("a", Some(8192), Some(true)),
            ("b", None, Some(false)),
            ("c", Some(32768), Some(true)),
            ("text-embedding-3", None, Some(false)),
            ("d", Some(4096), None),
        ];
        assert_eq!(
            found,
            want.map(|(id, context, tools)| (id.to_owned(), context, tools))
        );
    }

    #[test]
    fn a_list_outlives_the_program_and_is_written_only_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("models.json");
        let one = [Listed {
            id: "m".into(),
            context_tokens: Some(9),
            tools: None,
        }];
        Shelf::at(path.clone()).keep("p", &one);
        let again = Shelf::at(path.clone());
        let kept = again.find("p").unwrap();
        assert_eq!(kept.models, one);
        std::fs::remove_file(&path).unwrap();
        again.keep("p", &one);
        assert!(!path.exists(), "nothing changed");
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Shelf::at(path).find("p"), None);
    }
}
