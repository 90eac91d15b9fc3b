//! Owns: the texts of help. Guarantees: they name only what works; tests compare them with the verbs.

/// `agentctl -h`.
pub(crate) const ROOT: &str = "\
agentctl: work with agentd, the local coding assistant
  agentctl run \"fix the failing test\"    one turn of the agent in this directory
  agentctl exec -- make test             a command in the session's jailed shell
  agentctl logs -f                       follow this directory's session
Usage: agentctl [FLAGS] VERB …           (agentctl VERB -h for each)
  run [PROMPT]     one agent turn                sessions   list show new pause …
  exec -- CMD      command in the jailed shell   approvals  list show
  shell            interactive jailed shell      approve A  let a tool call happen
  attach [S]       follow and write to it        deny A     refuse a tool call
  send S TEXT      post a message                models     list test
  interrupt [S]    stop the turn                 auth       set list rm
  wait [S]         until ready or needs you      config     get set unset list edit …
  ports [S]        who listens in the jail       forward S  a port of the jail, here
  logs [S]         what happened                 daemon     status start stop restart logs
  search TEXT      words in all that happened    storage    report prune
  files            ls cat put edit               version    versions
  personas         list show new edit rm         policies   list show test edit
  doctor           check prerequisites           web        open url token stop
  help [TOPIC]     exit-codes environment …      usage      summary top forecast budget export …
  tasks            list add show run done …      review [RANGE]   audit [S]   replay FILE|S
Flags of every verb: -s/--session S  -C/--cd DIR  -o/--output table|json|jsonl|plain  --json
  --fields A,B  --no-header  --color auto|always|never  -q/--quiet  -v/--verbose  --no-input
  -y/--yes  --timeout D  --socket PATH  --no-autostart  -h/--help  -V/--version
Short: ls = sessions list, ps = at work, rm = delete, s t u = sessions tasks usage. S: id, name, @last or .
";

/// What can be done before any key is there; also part of the first screen.
pub(crate) const WITHOUT_MODEL: &str =
    "  agentctl shell                      a jailed shell in this directory (no model needed)
  agentctl run --model demo \"hello\"   scripted demo model, offline, $0";

/// How to get to a real model.
pub(crate) const WITH_MODEL: &str =
    "To use a real model:  agentctl auth set openai   (or: export OPENAI_API_KEY=…)";

pub(crate) const RUN: &str = "\
Examples:
  agentctl run \"make the login redirect keep ?next=\"
  git diff | agentctl run \"review this\" --last > review.md
  agentctl run -s build -m openai/gpt-5 \"and now the tests\"";
pub(crate) const EXEC: &str = "\
Examples:
  agentctl exec -- 'cd docs && ls'              one argument is shell text
  agentctl exec --name build -- cargo test      several are a command line
  agentctl exec -o json --timeout 30s -- make";
pub(crate) const SHELL: &str = "\
Examples:
  agentctl shell                a shell in this directory's jail
  agentctl shell -s build       in the jail of session 'build'
  agentctl shell --name lab -C ~/src/lab";
pub(crate) const ATTACH: &str = "\
Examples:
  agentctl attach               this directory's session
  agentctl attach build --tail 50
  agentctl attach @last --read-only";
pub(crate) const SEND: &str = "\
Examples:
  agentctl send build \"also update the changelog\"
  agentctl send build --steer \"only the tests in src/\"
  agentctl send build --list; agentctl send build --edit m-8w3n2k4p \"other words\"
  agentctl send build --stdin yes      answers the command that waits for input
  echo \"use the other branch\" | agentctl send build -";
pub(crate) const PORTS: &str = "\
Examples:
  agentctl ports                who listens in this directory's jail
  agentctl ports build
  agentctl ports build -o json";
pub(crate) const FORWARD: &str = "\
Examples:
  agentctl forward build 3000           open port 3000 of the jail on 127.0.0.1
  agentctl forward build 3000:8080      on port 8080
  agentctl forward build; agentctl forward build 3000 --close";
pub(crate) const INTERRUPT: &str = "\
Examples:
  agentctl interrupt            stop this directory's turn
  agentctl interrupt build
  agentctl interrupt build --exec x-9d2k7hq4mp      one command, or its background job";
pub(crate) const WAIT: &str = "\
Examples:
  agentctl wait build && make deploy
  agentctl wait build --for needs-you --timeout 10m
  agentctl wait build --for done       exits with the code of the turn";
pub(crate) const LOGS: &str = "\
Examples:
  agentctl logs -f              follow this directory's session
  agentctl logs build --shell --since 1h
  agentctl logs build -o jsonl | jq -r 'select(.type==\"tool.started\")'";
pub(crate) const SESSIONS: &str = "\
Examples:
  agentctl sessions list --here
  agentctl sessions pause build
  agentctl sessions delete build          (restore brings it back)

List sessions, and their whole life

Usage: agentctl sessions [FLAGS] VERB …    (agentctl sessions VERB -h for each)
  list          those that need you first      show S        all about one
  new           make one                       rename S N    another name
  pause S       it stands still                resume S      it goes on
  archive S     hide it                        unarchive S   show it again
  delete S …    into the trash, 7 days         restore S     out of the trash
  fork S        begin with its log             clients S     who follows it
  export S      into one file                  import FILE   from such a file
  redact S      take texts out for good
Flags of every verb: agentctl -h
";
pub(crate) const FILES: &str = "\
Examples:
  agentctl files ls build src
  agentctl files cat build src/main.c > main.c
  agentctl files put build notes.md < notes.md        (--force replaces one that is there)";
pub(crate) const SEARCH: &str = "\
Examples:
  agentctl search flaky test
  agentctl search --all \"npm publish\" -o json
  agentctl search -s build linker";
pub(crate) const STORAGE: &str = "\
Examples:
  agentctl storage report
  agentctl storage prune --older-than 30d --dry-run
  agentctl storage prune --trash";
pub(crate) const TASKS: &str = "\
Examples:
  agentctl tasks list --free             what could be begun, most urgent first
  agentctl tasks run T-12 -m demo        works on it in the background, to Review
  agentctl tasks done T-12 --link HEAD

The task board of this directory: docs/TASKS.md

Usage: agentctl tasks [FLAGS] VERB …    (agentctl tasks VERB -h for each)
  list          the board                      show T        all about one
  add TITLE     write a new one                edit T        title, priority, owner, notes, id
  move T S      todo in-progress blocked …     note T TEXT   add a note
  claim T       take it for a while            unclaim T     give it back
  start T       a session for it               run T         work on it, to Review
  block T       with the reason                review T      move it to Review
  done T        with the commit or PR          sync          hand edits and conflicts
Flags of every verb: agentctl -h
";
pub(crate) const REVIEW: &str = "\
Examples:
  agentctl review                        what is not committed yet
  agentctl review main...HEAD --task     a branch; findings go to the board
  agentctl review HEAD~1 -o json --exit-code";
pub(crate) const AUDIT: &str = "\
Examples:
  agentctl audit                 this directory's session
  agentctl audit build -o json
  agentctl audit @last -o jsonl | grep refus";
pub(crate) const REPLAY: &str = "\
Examples:
  agentctl replay build --save bug.jsonl    the cassette alone, for a bug report
  agentctl replay bug.jsonl                 play it here: the answers are recorded, the tools are real
  agentctl replay @last -o json";
pub(crate) const APPROVALS: &str = "\
Examples:
  agentctl approvals list
  agentctl approvals show a-31k9
  agentctl approvals list --all -o json";
pub(crate) const APPROVE: &str = "\
Examples:
  agentctl approve a-31k9               this one call
  agentctl approve a-31k9 --session     and those that match its rule
  agentctl approve a-31k9 --project --rule 'allow executes: npm publish *' --expires 7d";
pub(crate) const PERSONAS: &str = "\
Examples:
  agentctl personas list
  agentctl personas new mine --from code
  agentctl run --persona plan \"how would you split this module?\"";
pub(crate) const POLICIES: &str = "\
Examples:
  agentctl policies show ask                     its rules and checks, in order
  agentctl policies test -- git push origin main
  agentctl policies list --grants                what was granted to projects";
pub(crate) const DENY: &str = "\
Examples:
  agentctl deny a-31k9 --reason \"use the staging registry\"
  agentctl deny a-31k9 a-77m2
  agentctl approvals list";
pub(crate) const USAGE: &str = "\
Examples:
  agentctl usage                            today, this week, this month, against the budgets
  agentctl usage top --by task --since 30d
  agentctl usage budget set '$10' --per day";
pub(crate) const MODELS: &str = "\
Examples:
  agentctl models list
  agentctl models test openai/gpt-5
  agentctl models list -o json";
pub(crate) const AUTH: &str = "\
Examples:
  agentctl auth set openai              asks for the key without echo
  pass show openai | agentctl auth set openai
  agentctl auth list";
pub(crate) const DAEMON: &str = "\
Examples:
  agentctl daemon status
  agentctl daemon restart               commands in jails go on
  agentctl daemon logs -f";
pub(crate) const WEB: &str = "\
  agentctl web                  start it and open a signed-in page
  agentctl web url              only the link, for ssh -L 7777:127.0.0.1:7777
  agentctl web token list";
pub(crate) const CONFIG: &str = "\
Examples:
  agentctl config list --origin
  agentctl config set model.default openai/gpt-5
  agentctl config validate";
pub(crate) const DOCTOR: &str = "\
Examples:
  agentctl doctor
  agentctl doctor --prove
  agentctl doctor -o json";
pub(crate) const HELP: &str = "\
Examples:
  agentctl help run
  agentctl help exit-codes
  agentctl help keys          those of the terminal UI, as they are in force";
pub(crate) const VERSION: &str = "\
Examples:
  agentctl version
  agentctl version -o json
  agentctl --version";

/// `agentctl help exit-codes`.
pub(crate) const EXIT_CODES: &str = "\
  0    success
  1    failed
  2    usage error
  3    no such session, exec, approval or task
  4    credential missing or rejected
  5    denied by policy or a person
  6    conflict: name taken, decided before, moved on
  7    daemon unreachable, or of another version
  8    budget exhausted
  9    the agent finished but reports the goal not met
  10   an approval is needed and nobody is there to answer
  11   provider or network failure after retries
  124  time is over
  125  exec: agentctl or the jail failed
  126  exec: the command cannot be executed
  127  exec: the command was not found
  129  left on hang-up; the turn goes on
  130  interrupted
  141  the reader of the output went away (silent)
exec passes the command's own code (128+n for a signal, 124 when timed out), with -o json as well.
Its own failures are 2, 3, 6, 7, else 125; the bracketed word on standard error tells them apart.
";

/// `agentctl help environment`.
pub(crate) const ENVIRONMENT: &str = "\
AGENTCTL_OUTPUT    form of the output, like --output
AGENTCTL_SESSION   session, like --session
AGENTD_SOCKET      the daemon's socket, like --socket
AGENTD_STATE_DIR   where the daemon keeps its state   [~/.local/state/agentd]
AGENTD_CONFIG      the configuration file             [~/.config/agentd/config.toml]
XDG_RUNTIME_DIR, XDG_CONFIG_HOME, XDG_STATE_HOME      bases of these places
NO_COLOR           no colour        CLICOLOR_FORCE    colour on pipes too
COLUMNS            width of tables  EDITOR, VISUAL    editor of `config edit`
OPENAI_API_KEY, OPENAI_BASE_URL, *_API_KEY, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY,
SSL_CERT_FILE      taken along with run, attach, send and models, for that session only, never stored
A flag wins over a variable, a variable over the configuration, the configuration over the default.
";

/// `agentctl help output`.
pub(crate) const OUTPUT: &str = "\
Standard output carries data only; progress, remarks and errors go to standard error.
  table   aligned and cut to the terminal; the default on one
  plain   tab-separated, never cut; the default elsewhere
  json    one document; an error is one object on standard error:
          {\"error\":{\"code\":…,\"exit\":…,\"message\":…,\"hint\":…}}
  jsonl   one object per line. run and logs: {\"v\":1,\"seq\":…,\"ts\":…,\"session\":…,\"type\":…}
          session.started message.posted turn.started text.delta text.done tool.started
          tool.output tool.done exec.started exec.done approval.requested approval.resolved
          change.recorded usage notice error turn.done
--fields a,b keeps only these columns or fields; --no-header leaves the header out.
run prints the answer as it comes on a terminal, and only the final answer elsewhere.
";

/// Topics of `agentctl help`.
pub(crate) const TOPICS: &[(&str, &str)] = &[
    ("exit-codes", EXIT_CODES),
    ("environment", ENVIRONMENT),
    ("output", OUTPUT),
];
