//! Owns: what a tool can do to the world (Effects), and how a tool is described to a model.
//! Guarantees: policy speaks of Effects, never of tool names.

use serde::{Deserialize, Serialize};

/// What a tool call can do to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Looks at files in the Workspace.
    Reads,
    /// Changes files in the Workspace.
    Writes,
    /// Runs a program in the Jail.
    Executes,
    /// Leaves the Jail: network, another host, another root.
    ReachesOut,
}

/// A tool as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Name in calls: lower case, `_`.
    pub name: String,
    /// One short paragraph: what it does, what it returns.
    pub description: String,
    /// JSON Schema of the arguments (an object).
    pub parameters: serde_json::Value,
}

/// Which edit dialect a model is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EditDialect {
    /// `apply_patch` with the V4A patch text: what OpenAI models are trained on.
    ApplyPatch,
    /// `edit` with search and replace strings: every other model.
    SearchReplace,
}
