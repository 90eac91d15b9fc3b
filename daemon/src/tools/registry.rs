//! Owns: which tools a model is offered.
//! Guarantees: a fixed order and fixed text per dialect, so that a provider's prompt cache stays warm.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::apply_patch::ApplyPatch;
use super::edit::Edit;
use super::exec::Exec;
use super::fetch::Fetch;
use super::output::ReadOutput;
use super::plan::Plan;
use super::read::Read;
use super::search::Search;
use super::task::Task;
use super::write::Write;
use super::{PlanContext, Tool};
use crate::domain::persona::Persona;
use crate::domain::tool::{EditDialect, ToolSpec};

/// The directories, relative to the Workspace, in which a call of a file tool would write.
pub fn written_dirs(tool: &str, arguments: &str, context: &dyn PlanContext) -> BTreeSet<PathBuf> {
    let tool = [EditDialect::SearchReplace, EditDialect::ApplyPatch]
        .into_iter()
        .find_map(|dialect| Registry::for_dialect(dialect).get(tool));
    let plan = tool.and_then(|tool| tool.plan(&super::parse_arguments(arguments).ok()?, context).ok());
    plan.map(|plan| plan.paths)
        .unwrap_or_default()
        .iter()
        .map(|path| path.parent().unwrap_or(Path::new("")).to_owned())
        .collect()
}

/// The tools of a Session.
#[derive(Clone)]
pub struct Registry {
    tools: Arc<[(String, Arc<dyn Tool>)]>,
    specs: Arc<[ToolSpec]>,
}

impl Registry {
    /// exec, read, write, the dialect's way to edit, search, read_output, task, plan, fetch.
    pub fn for_dialect(dialect: EditDialect) -> Self {
        let edit: Arc<dyn Tool> = match dialect {
            EditDialect::ApplyPatch => Arc::new(ApplyPatch),
            EditDialect::SearchReplace => Arc::new(Edit),
        };
        Self::of(vec![
            Arc::new(Exec),
            Arc::new(Read),
            Arc::new(Write),
            edit,
            Arc::new(Search),
            Arc::new(ReadOutput),
            Arc::new(Task),
            Arc::new(Plan),
            Arc::new(Fetch),
        ])
    }

    /// These tools, in this order.
    pub fn of(tools: Vec<Arc<dyn Tool>>) -> Self {
        let specs: Vec<ToolSpec> = tools.iter().map(|tool| tool.spec()).collect();
        let tools: Vec<(String, Arc<dyn Tool>)> =
            specs.iter().map(|spec| spec.name.clone()).zip(tools).collect();
        Self {
            tools: tools.into(),
            specs: specs.into(),
        }
    }

    /// How the tools are described to the model.
    pub fn specs(&self) -> Arc<[ToolSpec]> {
        self.specs.clone()
    }

    /// The same of those that a persona has.
    pub fn specs_of(&self, persona: &Persona) -> Arc<[ToolSpec]> {
        if persona.tools.is_empty() {
            return self.specs();
        }
        self.specs
            .iter()
            .filter(|spec| persona.has_tool(&spec.name))
            .cloned()
            .collect()
    }

    /// The tool of that name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Tool>> {
        self.tools
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, tool)| tool.clone())
    }

    /// What to tell a model that asked for a tool that is not there.
    pub fn unknown(&self, name: &str, persona: &Persona) -> String {
        let names = self.tools.iter().map(|(name, _)| name.as_str());
        let names: Vec<&str> = names.filter(|name| persona.has_tool(name)).collect();
        let name: String = crate::domain::policy::visible(name).chars().take(80).collect();
        format!("There is no tool `{name}`. The tools are: {}.", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects_are_small_and_in_order() {
        for (dialect, edit) in [
            (EditDialect::ApplyPatch, "apply_patch"),
            (EditDialect::SearchReplace, "edit"),
        ] {
            let registry = Registry::for_dialect(dialect);
            let names: Vec<String> = registry.specs().iter().map(|spec| spec.name.clone()).collect();
            assert_eq!(
                names,
                [
                    "exec",
                    "read",
                    "write",
                    edit,
                    "search",
                    "read_output",
                    "task",
                    "plan",
                    "fetch"
                ]
            );
            let size = serde_json::to_string(&*registry.specs()).unwrap().len();
            assert!(
                size <= 5 * 1024,
                "{dialect:?} costs {size} bytes in every request"
            );
            assert!(names.iter().all(|name| registry.get(name).is_some()));
            assert!(registry.get("rm").is_none());
        }
    }
}
