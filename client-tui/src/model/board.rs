//! Owns: what the task board shows: whose, the tasks, the column and task in focus, and one task in full.

use agentd_proto::pb;

/// Columns, left to right.
pub(crate) const COLUMNS: [pb::TaskState; 5] = [
    pb::TaskState::Todo,
    pb::TaskState::InProgress,
    pb::TaskState::Blocked,
    pb::TaskState::Review,
    pb::TaskState::Done,
];

/// The screen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BoardView {
    /// Whose board it is.
    pub(crate) workspace: String,
    /// Workspaces that have one.
    pub(crate) known: Vec<String>,
    /// What it says; `None` until it was read.
    pub(crate) board: Option<Box<pb::ListTasksResponse>>,
    /// Place of the column in focus.
    pub(crate) column: usize,
    pub(crate) selected: Option<String>,
    pub(crate) filter: String,
    /// The task that is shown in full, with its history.
    pub(crate) detail: Option<Box<pb::GetTaskResponse>>,
}

impl BoardView {
    /// Every task.
    pub(crate) fn tasks(&self) -> &[pb::Task] {
        self.board.as_ref().map_or(&[], |board| board.tasks.as_slice())
    }

    /// The tasks of a column that the filter lets through, in the files' order.
    pub(crate) fn column(&self, column: usize) -> Vec<&pb::Task> {
        let state = COLUMNS.get(column).copied().unwrap_or_default();
        let needle = self.filter.to_lowercase();
        let fits = |task: &&pb::Task| {
            needle.is_empty()
                || [&task.task_id, &task.title, &task.owner, &task.notes]
                    .iter()
                    .any(|text| text.to_lowercase().contains(&needle))
        };
        self.tasks()
            .iter()
            .filter(|task| task.state() == state)
            .filter(fits)
            .collect()
    }

    /// Place of the selected task in the column in focus.
    pub(crate) fn place(&self) -> usize {
        let selected = self.selected.as_deref();
        self.column(self.column)
            .iter()
            .position(|task| Some(task.task_id.as_str()) == selected)
            .unwrap_or(0)
    }

    /// The selected task.
    pub(crate) fn task(&self) -> Option<&pb::Task> {
        self.column(self.column).get(self.place()).copied()
    }

    /// A task by its id.
    pub(crate) fn get(&self, task_id: &str) -> Option<&pb::Task> {
        self.tasks().iter().find(|task| task.task_id == task_id)
    }

    /// Puts the focus on a task, wherever it is.
    pub(crate) fn focus(&mut self, task_id: &str) {
        let state = self.get(task_id).map(pb::Task::state);
        if let Some(column) = COLUMNS.iter().position(|one| Some(*one) == state) {
            self.column = column;
        }
        self.selected = Some(task_id.to_owned());
    }
}
