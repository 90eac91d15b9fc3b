//! Owns: the verbs about tasks and their flags.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Place {
    /// Nobody has begun.
    Todo,
    /// Somebody works on it.
    #[value(alias = "doing", alias = "in_progress", alias = "in progress")]
    InProgress,
    /// It waits for something.
    Blocked,
    /// Done, waiting for a second look.
    Review,
    /// Done.
    Done,
}

/// Verbs about tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum TasksVerb {
    /// The board of this directory
    List(TasksList),
    /// Write a new task into TASKS.md
    Add(TasksAdd),
    /// One task, with sessions, cost and history
    Show {
        /// Task, such as T-12
        task: String,
    },
    /// Change a task's title, priority, owner, notes or id
    Edit(TasksEdit),
    /// Move a task: todo, in-progress, blocked, review, done
    Move {
        /// Task
        task: String,
        /// Where to
        #[arg(ignore_case = true)]
        to: Place,
    },
    /// Make a session for a task, and claim the task for it
    Start(TasksStart),
    /// Work on a task in the background, to Review
    Run(TasksStart),
    /// Take a task for a while; again renews the lease
    Claim(TasksClaim),
    /// Give a task back
    Unclaim {
        /// Task
        task: String,
        /// Also when somebody else has it
        #[arg(long)]
        force: bool,
    },
    /// Add a note to a task
    Note {
        /// Task
        task: String,
        /// What to note
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Move a task to Blocked, with the reason
    Block {
        /// Task
        task: String,
        /// Why
        text: Vec<String>,
    },
    /// Move a task to Review
    Review {
        /// Task
        task: String,
        /// A word on it
        text: Vec<String>,
    },
    /// Move a task to Done, with the commit or pull request that did it
    Done {
        /// Task
        task: String,
        /// Commit, branch, HEAD, or the address of a pull request
        #[arg(long, value_name = "COMMIT|URL")]
        link: Option<String>,
        /// A word on it
        text: Vec<String>,
    },
    /// Take in hand edits now, and settle conflicts
    Sync(TasksSync),
}

/// Flags of `tasks list`.
#[derive(Debug, Default, Args)]
pub(crate) struct TasksList {
    /// Only these
    #[arg(long, value_delimiter = ',', value_name = "STATE,…", ignore_case = true)]
    pub(crate) state: Vec<Place>,
    /// Only tasks that nobody has and that wait for nothing
    #[arg(long)]
    pub(crate) free: bool,
}

/// Flags of `tasks add`.
#[derive(Debug, Args)]
pub(crate) struct TasksAdd {
    /// What is to be done
    #[arg(required = true)]
    pub(crate) title: Vec<String>,
    /// High, P1 …
    #[arg(long, value_name = "P", default_value = "")]
    pub(crate) priority: String,
    /// Who
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) owner: String,
    /// What else there is to say
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) notes: String,
    /// Where it stands [default: todo]
    #[arg(long, value_name = "STATE", ignore_case = true)]
    pub(crate) state: Option<Place>,
    /// Below this heading
    #[arg(long, value_name = "HEADING", default_value = "")]
    pub(crate) section: String,
    /// Into this file of the board
    #[arg(long, value_name = "PATH", default_value = "")]
    pub(crate) file: String,
}

/// Flags of `tasks edit`.
#[derive(Debug, Args)]
pub(crate) struct TasksEdit {
    /// Task
    pub(crate) task: String,
    /// Another title
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Another priority; empty takes it away
    #[arg(long, value_name = "P")]
    pub(crate) priority: Option<String>,
    /// Another owner; empty takes it away
    #[arg(long, value_name = "NAME")]
    pub(crate) owner: Option<String>,
    /// Notes instead of the old ones
    #[arg(long, value_name = "TEXT")]
    pub(crate) notes: Option<String>,
    /// Write this id into the file
    #[arg(long, value_name = "ID", default_value = "")]
    pub(crate) id: String,
}

/// Flags of `tasks start` and `tasks run`.
#[derive(Debug, Args)]
pub(crate) struct TasksStart {
    /// Task
    pub(crate) task: String,
    /// What else to tell the agent
    pub(crate) text: Vec<String>,
    /// The session's name [default: the task's id]
    #[arg(long, value_name = "N", default_value = "")]
    pub(crate) name: String,
    /// Model: PROVIDER/NAME, or demo
    #[arg(short, long, value_name = "M", default_value = "")]
    pub(crate) model: String,
    /// At most so many steps
    #[arg(long, value_name = "N", value_parser = super::parse_steps)]
    pub(crate) max_turns: Option<u32>,
    /// Also when the task waits for others
    #[arg(long)]
    pub(crate) force: bool,
}

/// Flags of `tasks claim`.
#[derive(Debug, Args)]
pub(crate) struct TasksClaim {
    /// Task
    pub(crate) task: String,
    /// How long, unless renewed [default: board.lease]
    #[arg(long, value_name = "D", value_parser = crate::time::parse_duration)]
    pub(crate) lease: Option<Duration>,
    /// Also when it waits for others, or is done
    #[arg(long)]
    pub(crate) force: bool,
}

/// Which side of a conflict stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// What the file says.
    File,
    /// What the board wanted.
    Board,
}

/// Flags of `tasks sync`.
#[derive(Debug, Args)]
pub(crate) struct TasksSync {
    /// Task whose conflict to settle
    #[arg(requires = "kept")]
    pub(crate) task: Option<String>,
    /// Keep this side
    #[arg(long, value_name = "SIDE", group = "kept", requires = "task")]
    pub(crate) keep: Option<Side>,
    /// Keep neither but this text
    #[arg(long, value_name = "TEXT", group = "kept", requires = "task")]
    pub(crate) text: Option<String>,
    /// Only this field: title, status, priority, owner, notes
    #[arg(long, value_name = "FIELD", default_value = "")]
    pub(crate) field: String,
    /// Bring a deleted file back as it last was
    #[arg(long)]
    pub(crate) restore: bool,
}
