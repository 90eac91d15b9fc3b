//! Owns: the panels over a session: about it, its context, jobs, network, models, and what it did; as rows.
//! Guarantees: texts of rows hold nothing that steers a terminal.

use agentd_proto::escape::line as clean;
use agentd_proto::{format, pb};

/// Which panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Panel {
    About,
    Context,
    Jobs,
    Network,
    Models,
    Audit,
}

impl Panel {
    /// Its name.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::About => "about",
            Self::Context => "context",
            Self::Jobs => "background jobs",
            Self::Network => "network",
            Self::Models => "models",
            Self::Audit => "what it did",
        }
    }
}

/// A panel on the screen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    pub(crate) what: Panel,
    pub(crate) session_id: String,
    /// `None` until the daemon has answered.
    pub(crate) rows: Option<Vec<Row>>,
    pub(crate) selected: usize,
}

/// How a row looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Heading,
    Plain,
    Dim,
    Bad,
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) left: String,
    pub(crate) right: String,
    pub(crate) tone: Tone,
    /// What can be done with it.
    pub(crate) deed: Option<Deed>,
}

/// What can be done with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// With what the summary should keep in mind.
    Compact(String),
    EndJob {
        exec_id: String,
    },
    Network(pb::NetworkMode),
    /// A port of the jail on this machine: inside and here; 0: any.
    Forward(u32, u32),
    /// A service of this machine inside the jail.
    HostPort(u32),
    Close(pb::PortDirection, u32),
    /// Asks for a port to forward.
    AskForward,
    /// Asks for a port of this machine.
    AskHostPort,
    Model(String),
}

impl Deed {
    /// True for what takes something away: it has a key of its own.
    pub(crate) fn ends(&self) -> bool {
        matches!(self, Self::EndJob { .. } | Self::Close(..))
    }

    /// What the key does, for the panel's title.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::Compact(_) => "compacts it",
            Self::EndJob { .. } => "ends it",
            Self::Network(_) => "chooses it",
            Self::Forward(..) => "opens it on this machine",
            Self::HostPort(_) => "asks for it",
            Self::Close(..) => "closes it",
            Self::AskForward | Self::AskHostPort => "asks which port",
            Self::Model(_) => "takes it for the next message",
        }
    }
}

/// What the daemon said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    About(Box<pb::Session>, Box<pb::GetContextResponse>),
    Context(Box<pb::GetContextResponse>),
    Jobs(Vec<pb::Job>),
    Network {
        network: Box<pb::GetNetworkResponse>,
        ports: Vec<pb::ListeningPort>,
        connections: Vec<pb::RecordedConnection>,
    },
    Models(Vec<pb::Model>),
    Audit(Box<pb::AuditSessionResponse>),
}

impl Data {
    /// Which panel it is for.
    pub(crate) fn panel(&self) -> Panel {
        match self {
            Self::About(..) => Panel::About,
            Self::Context(_) => Panel::Context,
            Self::Jobs(_) => Panel::Jobs,
            Self::Network { .. } => Panel::Network,
            Self::Models(_) => Panel::Models,
            Self::Audit(_) => Panel::Audit,
        }
    }

    /// As rows. `clock` gives a moment as people read it.
    pub(crate) fn rows(&self, clock: &dyn Fn(Option<prost_types::Timestamp>) -> String) -> Vec<Row> {
        match self {
            Self::About(session, context) => about(session, context, clock),
            Self::Context(context) => filling(context),
            Self::Jobs(jobs) => running(jobs, clock),
            Self::Network {
                network,
                ports,
                connections,
            } => reaching(network, ports, connections, clock),
            Self::Models(models) => choosing(models),
            Self::Audit(audit) => done(audit, clock),
        }
    }
}

impl Row {
    fn new(left: impl Into<String>, right: impl Into<String>) -> Self {
        Self {
            left: left.into(),
            right: right.into(),
            tone: Tone::Plain,
            deed: None,
        }
    }

    fn heading(words: impl Into<String>) -> Self {
        Self::new(words, "").toned(Tone::Heading)
    }

    fn dim(words: impl Into<String>) -> Self {
        Self::new(words, "").toned(Tone::Dim)
    }

    fn field(name: &str, value: impl AsRef<str>) -> Self {
        Self::new(format!("{name:<11} {}", clean(value.as_ref())), "")
    }

    fn toned(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    fn can(mut self, deed: Deed) -> Self {
        self.deed = Some(deed);
        self
    }
}

fn about(
    session: &pb::Session,
    context: &pb::GetContextResponse,
    clock: &dyn Fn(Option<prost_types::Timestamp>) -> String,
) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push(Row::field(name, value));
        }
    };
    field("title", session.title.clone());
    field("state", format::state_word(session.state()).to_owned());
    field("paused", session.pause_reason.clone());
    if let Some(wait) = &session.waiting {
        field("waits for", format!("input to {}: {}", wait.exec_id, wait.line));
    }
    field("task", session.task_id.clone());
    field("model", session.model.clone());
    field("persona", session.persona.clone());
    let start = match session.start_dir.as_str() {
        "" => String::new(),
        dir => format!(" (from {dir})"),
    };
    field("workspace", format!("{}{start}", session.workspace));
    let layout = match session.layout() {
        pb::Layout::Root => "the workspace is / inside",
        _ => "the workspace is at its own path inside",
    };
    let jail = match session.jail() {
        pb::JailKind::Outer => "none (outer)",
        _ => "bwrap",
    };
    field("jail", format!("{jail} · {layout} · {}", session.layout_reason));
    field("network", format::network_word(session.network()).to_owned());
    let log = match session.log_level() {
        pb::LogLevel::Redacted => "redacted: what is or looks like a secret is taken out",
        pb::LogLevel::None => "none: no words of people or models are kept, only what was done",
        _ => "full: everything but agentd's own keys",
    };
    field("log", log.to_owned());
    if let Some(share) = (session.cached_input_tokens * 100).checked_div(session.input_tokens) {
        field("cache", format!("{share}% of the input tokens"));
    }
    field("forked from", session.forked_from.clone());
    field(
        "made",
        format!("{} by {}", clock(session.create_time), session.principal),
    );
    for dir in &session.added_dirs {
        let how = if dir.writable { "writable" } else { "read-only" };
        field("also sees", format!("{} ({how})", dir.path));
    }
    if !context.plan.is_empty() {
        rows.push(Row::heading("plan"));
        rows.extend(context.plan.iter().map(plan_row));
    }
    if !session.limits.is_empty() {
        rows.push(Row::heading("limits"));
    }
    for limit in &session.limits {
        let name = limit.limit.replace('_', " ");
        let keeper = match limit.keeper() {
            pb::LimitKeeper::Kernel => "kept by the kernel",
            pb::LimitKeeper::Watch => "watched",
            pb::LimitKeeper::Unspecified => "not kept",
        };
        let note = match limit.note.as_str() {
            "" if limit.keeper() == pb::LimitKeeper::Unspecified => String::new(),
            "" => keeper.to_owned(),
            note => format!("{keeper}: {note}"),
        };
        rows.push(Row::new(
            format!("{:<15} {}", clean(&name), clean(&limit.text)),
            clean(&note),
        ));
    }
    rows
}

/// The sign and text of a line of a plan.
pub(crate) fn plan_line(item: &pb::PlanItem) -> String {
    let sign = match item.state() {
        pb::PlanState::Done => "[x]",
        pb::PlanState::Doing => "[>]",
        _ => "[ ]",
    };
    format!("{sign} {}", clean(&item.text))
}

fn plan_row(item: &pb::PlanItem) -> Row {
    let tone = match item.state() {
        pb::PlanState::Done => Tone::Dim,
        _ => Tone::Plain,
    };
    Row::new(plan_line(item), "").toned(tone)
}

fn filling(context: &pb::GetContextResponse) -> Vec<Row> {
    let used = format::context(context.tokens, context.window_tokens);
    let window = match context.window_tokens {
        0 => "window unknown".to_owned(),
        tokens => format!(
            "of {} ({})",
            format::tokens(tokens),
            clean(&context.window_source)
        ),
    };
    let mut rows = vec![Row::new(
        format!("{} tokens {window} · {used}", format::tokens(context.tokens)),
        format::count(context.messages.into(), "message"),
    )];
    let at = match context.compact_at_tokens {
        0 => "it is never compacted by itself".to_owned(),
        tokens => format!("compacted by itself at {}", format::tokens(tokens)),
    };
    let times = match context.compactions {
        0 => "not yet".to_owned(),
        count => format::count(count.into(), "time"),
    };
    rows.push(Row::new(at, times).can(Deed::Compact(String::new())));
    rows.push(Row::heading("what fills it"));
    let sum: u64 = context.shares.iter().map(|share| share.tokens).sum();
    for share in &context.shares {
        let percent = (share.tokens * 100).checked_div(sum).unwrap_or(0);
        let bar = usize::try_from(percent / 5).unwrap_or(0);
        rows.push(Row::new(
            format!(
                "{:<13} {:>6} {percent:>3}% {}",
                clean(&share.kind.replace('_', " ")),
                format::tokens(share.tokens),
                "#".repeat(bar)
            ),
            format::count(share.count.into(), "piece"),
        ));
    }
    if !context.largest.is_empty() {
        rows.push(Row::heading("largest pieces"));
    }
    for piece in &context.largest {
        let kind = clean(&piece.kind.replace('_', " "));
        rows.push(Row::new(
            format!("{kind:<13} {}", clean(&piece.name)),
            format::tokens(piece.tokens),
        ));
    }
    if !context.instruction_files.is_empty() {
        rows.push(Row::heading("instruction files"));
        rows.extend(
            context
                .instruction_files
                .iter()
                .map(|path| Row::new(clean(path), "")),
        );
    }
    rows
}

fn running(jobs: &[pb::Job], clock: &dyn Fn(Option<prost_types::Timestamp>) -> String) -> Vec<Row> {
    if jobs.is_empty() {
        return vec![Row::dim("no command has left anything running")];
    }
    let mut rows = Vec::new();
    for job in jobs {
        let script = job.script.lines().find(|line| !line.trim().is_empty());
        let count = match job.processes.len() {
            1 => "1 process".to_owned(),
            count => format!("{count} processes"),
        };
        let row = Row::new(
            format!("{} {}", job.exec_id, clean(script.unwrap_or_default().trim())),
            format!("{count} · since {}", clock(job.start_time)),
        );
        rows.push(row.can(Deed::EndJob {
            exec_id: job.exec_id.clone(),
        }));
        for process in &job.processes {
            rows.push(Row::dim(format!(
                "  {:>6} {}",
                process.pid,
                clean(&process.command)
            )));
        }
    }
    rows
}

fn reaching(
    network: &pb::GetNetworkResponse,
    ports: &[pb::ListeningPort],
    connections: &[pb::RecordedConnection],
    clock: &dyn Fn(Option<prost_types::Timestamp>) -> String,
) -> Vec<Row> {
    use pb::NetworkMode as M;
    let mut rows = vec![Row::heading("mode")];
    for (mode, what) in [
        (M::Off, "nothing is reached"),
        (M::Ask, "hosts on the list; others are asked about"),
        (M::List, "hosts on the list; others are refused"),
    ] {
        let now = if mode == network.mode() { "now" } else { "" };
        let words = format!("{:<6} {what}", format::network_word(mode));
        let row = Row::new(words, now);
        rows.push(match mode == network.mode() {
            true => row,
            false => row.can(Deed::Network(mode)),
        });
    }
    rows.push(Row::heading("hosts that need no question"));
    let hosts = network.listed.iter().map(|host| (host, "configured"));
    let hosts = hosts.chain(network.granted.iter().map(|host| (host, "this session")));
    rows.extend(hosts.map(|(host, from)| Row::new(clean(host), from)));
    if network.listed.is_empty() && network.granted.is_empty() {
        rows.push(Row::dim("none"));
    }
    rows.push(Row::heading("doors to this machine"));
    for door in &network.doors {
        let here = format!("127.0.0.1:{}", door.local_port);
        let row = match door.direction() {
            pb::PortDirection::Host => Row::new(format!("{here} can be reached inside"), "of this machine"),
            _ => Row::new(format!("{here} leads to port {} inside", door.port), "forwarded"),
        };
        rows.push(row.can(Deed::Close(door.direction(), door.port)));
    }
    rows.push(Row::dim("open a port of the jail here").can(Deed::AskForward));
    rows.push(Row::dim("let the jail reach a service of this machine").can(Deed::AskHostPort));
    if !ports.is_empty() {
        rows.push(Row::heading("what listens inside"));
    }
    for port in ports {
        let row = Row::new(
            format!(
                "{:>5} {} {}",
                port.port,
                clean(&port.address),
                clean(&port.program)
            ),
            match port.local_port {
                0 => "not open here".to_owned(),
                local => format!("127.0.0.1:{local}"),
            },
        );
        rows.push(match port.local_port {
            0 => row.can(Deed::Forward(port.port, 0)),
            _ => row.can(Deed::Close(pb::PortDirection::Forward, port.port)),
        });
    }
    rows.push(Row::heading("connections, newest first"));
    if connections.is_empty() {
        rows.push(Row::dim("none"));
    }
    for one in connections {
        let at = clock(one.record_time);
        let Some(connection) = &one.connection else {
            continue;
        };
        let place = format!("{}:{}", clean(&connection.host), connection.port);
        let program = clean(&connection.program);
        rows.push(if connection.refusal.is_empty() {
            let bytes = format!(
                "{} out, {} in · {at}",
                format::bytes(connection.sent_bytes),
                format::bytes(connection.received_bytes)
            );
            Row::new(format!("{place} {program}"), bytes)
        } else {
            let why = clean(&connection.refusal);
            Row::new(format!("{place} {program} refused: {why}"), at).toned(Tone::Bad)
        });
    }
    rows
}

fn choosing(models: &[pb::Model]) -> Vec<Row> {
    if models.is_empty() {
        return vec![Row::dim("no model is set up: agentctl auth set PROVIDER")];
    }
    let row = |model: &pb::Model| {
        let mut words = vec![clean(&model.status.replace('_', " "))];
        if model.is_default {
            words.push("default".to_owned());
        }
        if model.tool_use() == pb::ToolUse::No {
            words.push("no tools".to_owned());
        }
        if model.context_window_tokens > 0 {
            words.push(format!("{} ctx", format::tokens(model.context_window_tokens)));
        }
        if let (Some(input), Some(output)) = (
            model.input_micro_usd_per_million,
            model.output_micro_usd_per_million,
        ) {
            let (input, output) = (format::money(Some(input)), format::money(Some(output)));
            words.push(format!("{input}/{output} per M"));
        }
        let row = Row::new(clean(&model.name), words.join(" · "));
        match model.status.as_str() {
            "ready" | "found" => row.can(Deed::Model(model.name.clone())),
            _ => row.toned(Tone::Dim),
        }
    };
    models.iter().map(row).collect()
}

fn done(
    audit: &pb::AuditSessionResponse,
    clock: &dyn Fn(Option<prost_types::Timestamp>) -> String,
) -> Vec<Row> {
    let mut rows: Vec<(u64, Row)> = Vec::new();
    for one in &audit.commands {
        let by = if one.by_model { "model" } else { "person" };
        let result = match one.exit_code {
            Some(code) => format!("exit {code}"),
            None => "no exit code".to_owned(),
        };
        let script = clean(one.script.lines().next().unwrap_or_default());
        let row = Row::new(
            format!("command {script}"),
            format!("{result} · {by} · {}", clock(one.time)),
        );
        rows.push((one.seq, row));
    }
    for one in &audit.files {
        let row = Row::new(
            format!("file    {}", clean(&one.path)),
            format!(
                "{} +{} −{} · {}",
                clean(&one.change),
                one.added,
                one.removed,
                clock(one.time)
            ),
        );
        rows.push((one.seq, row));
    }
    for one in &audit.hosts {
        let tone = if one.allowed { Tone::Plain } else { Tone::Bad };
        let word = if one.allowed { "reached" } else { "refused" };
        let row = Row::new(
            format!("host    {}", clean(&one.host)),
            format!("{word} · {}", clock(one.time)),
        );
        rows.push((one.seq, row.toned(tone)));
    }
    for one in &audit.refusals {
        let row = Row::new(
            format!("refused {}", clean(&one.what)),
            format!("by {} · {}", clean(&one.by), clock(one.time)),
        );
        rows.push((one.seq, row.toned(Tone::Bad)));
    }
    if rows.is_empty() {
        return vec![Row::dim("it ran no command, changed no file and reached no host")];
    }
    rows.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    rows.into_iter().map(|(_, row)| row).collect()
}
