//! Owns: boards as they are in public repositories, read and edited.
//! Guarantees: whatever the file's shape, an edit differs from the original in the edited pieces only.

use proptest::prelude::*;

use super::add;
use super::document::{Document, Entry};
use super::edit::{self, EditError, Wish};
use crate::domain::task::{Field, Fields, TaskId, TaskState};

const PATH: &str = "docs/TASKS.md";

fn read(text: &str) -> Document {
    Document::read(PATH, text)
}

/// `T-1 Done "title" High @ana waits T-9`, one line a task.
fn told(document: &Document) -> Vec<String> {
    document.entries.iter().map(line).collect()
}

fn line(entry: &Entry) -> String {
    let f = &entry.fields;
    let mut out = format!(
        "{} {} {:?}",
        entry.id.as_ref().map_or("-", TaskId::as_str),
        f.status.word(),
        f.title
    );
    for (sign, text) in [(" !", &f.priority), (" @", &f.owner), (" // ", &f.notes)] {
        if !text.is_empty() {
            out.push_str(sign);
            out.push_str(text);
        }
    }
    if !entry.waits.is_empty() {
        let ids: Vec<&str> = entry.waits.iter().map(TaskId::as_str).collect();
        out.push_str(&format!(" waits {}", ids.join(",")));
    }
    out
}

fn wish(field: Field, text: &str) -> Wish {
    Wish {
        set: vec![(field, text.to_owned())],
        ..Wish::default()
    }
}

fn edit_text(text: &str, document: &Document, index: usize, wish: &Wish) -> Result<String, EditError> {
    let (edited, after) = edit::edit(PATH, text, document, index, wish)?;
    assert_eq!(after.entries.len(), read(&edited).entries.len());
    Ok(edited)
}

fn set(text: &str, id: &str, field: Field, value: &str) -> Result<String, EditError> {
    let document = read(text);
    let index = document
        .entries
        .iter()
        .position(|entry| entry.id.as_ref().is_some_and(|own| own.as_str() == id))
        .unwrap();
    edit_text(text, &document, index, &wish(field, value))
}

const MIXED: &str = "# Tasks 🚀\n\nSome prose with | pipes | in it.\n\n\
| ID | Title | Status | Priority | Owner | Notes | Estimate |\n|----|:------|:------:|---|---|---|---|\n\
| T-1 | Parse \\| escape `a\\|b` | ✅ Done | High | ana | | 3d |\n\
| **T-2** | Ünïcødé 数据 | In Progress | P1 |  | waits T-1 | ∞ |\n\
|T-3|tight|Todo||||\n\n\
| Service | Status |\n|---|---|\n| api | operational |\n\n\
## Phase 1: Setup 🛠\n\n- [ ] T001 [P] [US1] Create the project (High) @ben\n- [x] ~~T002 old way~~\n  - [~] T003: nested one\n  - a note on T002\n\
- [!] T004 wait here (depends on T001, T003)\n- plain point\n- [link](x) no task\n\n```\n- [ ] T900 in code\n| ID | Title | Status |\n```\n";

#[test]
fn tables_lists_and_what_is_neither_are_told_apart() {
    let document = read(MIXED);
    assert_eq!(
        told(&document),
        [
            r#"T-1 done "Parse | escape `a|b`" !High @ana"#,
            r#"T-2 in_progress "Ünïcødé 数据" !P1 // waits T-1 waits T-1"#,
            r#"T-3 todo "tight""#,
            r#"T001 todo "Create the project" !High @ben"#,
            r#"T002 done "old way" // a note on T002"#,
            r#"T003 in_progress "nested one""#,
            r#"T004 blocked "wait here (depends on T001, T003)" waits T001,T003"#,
        ]
    );
    assert!(document.problems.is_empty(), "{:?}", document.problems);
    assert_eq!(document.entries[3].tags, ["P", "US1"]);
    assert_eq!(
        document.sections[document.entries[3].section],
        ["Tasks 🚀", "Phase 1: Setup 🛠"]
    );
    assert_eq!(document.entries[5].depth, 1);
    assert_eq!(document.entries[1].line, 8);
}

#[test]
fn an_edit_touches_its_piece_alone() {
    for (id, field, value, was, now) in [
        ("T-1", Field::Status, "Todo", "| ✅ Done |", "| Todo   |"),
        (
            "T-2",
            Field::Status,
            "done",
            "| In Progress |",
            "| ✅ Done      |",
        ),
        ("T-2", Field::Owner, "cleo", "| P1 |  |", "| P1 | cleo |"),
        ("T-3", Field::Title, "a | b", "|tight|", "|a \\| b|"),
        ("T001", Field::Status, "Done", "- [ ] T001", "- [x] T001"),
        ("T001", Field::Owner, "cleo", "@ben", "@cleo"),
        ("T001", Field::Owner, "", " @ben", ""),
        ("T001", Field::Priority, "Low", "(High)", "(Low)"),
        (
            "T002",
            Field::Status,
            "Todo",
            "- [x] ~~T002 old way~~",
            "- [ ] T002 old way",
        ),
        ("T003", Field::Title, "other words", "nested one", "other words"),
        ("T004", Field::Status, "in progress", "- [!] T004", "- [~] T004"),
        ("T004", Field::Owner, "ana", "T001, T003)", "T001, T003) @ana"),
    ] {
        let edited = set(MIXED, id, field, value).unwrap();
        assert_eq!(edited, MIXED.replacen(was, now, 1), "{id} {field:?}");
    }
}

#[test]
fn notes_go_where_the_form_keeps_them() {
    let document = read(MIXED);
    let note = |index: usize| {
        let wish = Wish {
            note: Some("see #4 | later".into()),
            ..Wish::default()
        };
        edit_text(MIXED, &document, index, &wish).unwrap()
    };
    assert_eq!(
        note(1),
        MIXED.replacen("| waits T-1 |", "| waits T-1; see #4 \\| later |", 1)
    );
    assert_eq!(note(3), MIXED.replacen("@ben\n", "@ben\n  - see #4 | later\n", 1));
}

#[test]
fn a_new_task_follows_the_files_own_style() {
    let add = |text: &str, section: Option<&str>| {
        let document = read(text);
        let id = add::next_id(&document).unwrap_or("T-1".parse().unwrap());
        let fields = Fields {
            title: "new one".into(),
            status: TaskState::Todo,
            priority: "High".into(),
            owner: String::new(),
            notes: String::new(),
        };
        add::add(PATH, text, &document, &id, &fields, section).unwrap().0
    };
    assert_eq!(
        add("", None),
        "# Tasks\n\n| ID | Title | Status | Priority | Owner | Notes |\n|---|---|---|---|---|---|\n| T-1 | new one | Todo | High |  |  |\n"
    );
    let table = "| ID  | Status | Title |\r\n|---|---|---|\r\n| A-9 | todo   | x     |\r\n\r\nmore";
    let added = "| ID  | Status | Title |\r\n|---|---|---|\r\n| A-9 | todo   | x     |\r\n| A-10 | todo   | new one |\r\n\r\nmore";
    let document = read(table);
    let fields = Fields {
        title: "new one".into(),
        status: TaskState::Todo,
        priority: String::new(),
        owner: String::new(),
        notes: String::new(),
    };
    let id = add::next_id(&document).unwrap();
    assert_eq!(
        add::add(PATH, table, &document, &id, &fields, None).unwrap().0,
        added
    );
    let list = "## A\n\n- [x] **T009**: done\n  - [ ] T010 sub\n\n## B\n\ntext\n";
    assert_eq!(
        add(list, None),
        list.replacen("T010 sub\n", "T010 sub\n- [ ] **T011**: new one (High)\n", 1)
    );
    let no_priority = add::add(
        PATH,
        table,
        &document,
        &id,
        &Fields {
            priority: "High".into(),
            ..fields
        },
        None,
    );
    assert_eq!(no_priority.unwrap_err(), EditError::NoColumn(Field::Priority));
}

#[test]
fn what_would_read_back_otherwise_is_refused() {
    assert!(matches!(
        set(MIXED, "T003", Field::Title, "mail @ana"),
        Err(EditError::Unreadable(Field::Title, _))
    ));
    assert!(matches!(
        set(MIXED, "T-1", Field::Title, "  "),
        Err(EditError::Refused(_))
    ));
    assert!(matches!(
        set(MIXED, "T-1", Field::Status, "whatever"),
        Err(EditError::Refused(_))
    ));
    assert!(matches!(
        set(MIXED, "T001", Field::Priority, "quite"),
        Err(EditError::Refused(_))
    ));
    let hostile = set(MIXED, "T-1", Field::Title, "a\nb\u{1b}[31m | T-9 | Done |").unwrap();
    assert_eq!(read(&hostile).entries.len(), read(MIXED).entries.len());
    assert!(!hostile.contains('\u{1b}'));
}

#[test]
fn short_rows_get_the_cells_they_lack() {
    let text = "| ID | Title | Status | Notes |\n|---|---|---|---|\n| T-1 | a | Todo |\nT-2 | b\n";
    let edited = set(text, "T-1", Field::Notes, "n").unwrap();
    assert_eq!(edited, text.replacen("| a | Todo |\n", "| a | Todo | n |\n", 1));
    let edited = set(text, "T-2", Field::Status, "Done").unwrap();
    assert_eq!(edited, text.replacen("T-2 | b\n", "T-2 | b | Done\n", 1));
}

#[test]
fn problems_name_their_line() {
    let told = |text: &str| -> Vec<(u32, String, bool)> {
        read(text)
            .problems
            .into_iter()
            .map(|(problem, fatal)| (problem.line, problem.code, fatal))
            .collect()
    };
    let head = "| ID | Title | Status |\n|---|---|---|\n";
    assert_eq!(
        told(&format!(
            "{head}| T-1 | a | Todo |\n| T-1 | b | Todo |\n| T-2 | c | Mabye |\n| T-3 | d | Done | x |\n"
        )),
        [
            (5, "unknown_status".into(), false),
            (6, "extra_cells".into(), false),
            (4, "duplicate_id".into(), false)
        ]
    );
    assert_eq!(
        told("x\n\n| ID | Title | Status |\n|---|---|\n| T-1 | a | Todo |\n"),
        [(3, "malformed_table".into(), true)]
    );
    assert_eq!(
        told(&format!(
            "{head}<<<<<<< HEAD\n| T-1 | a | Done |\n=======\n| T-1 | a | Todo |\n>>>>>>> other\n"
        ))[0],
        (3, "merge_conflict".into(), true)
    );
    let twice = read(&format!("{head}| T-1 | a | Todo |\n| T-1 | b | Todo |\n"));
    assert_eq!(twice.entries[1].id.as_ref().unwrap().as_str(), "T-1#2");
}

#[test]
fn what_is_no_board_is_left_alone() {
    for text in [
        "- milk\n- bread\n1. one\n",
        "| ADR | Title | Status |\n|---|---|---|\n| 1 | Log | Accepted |\n| 2 | Bell | Superseded |\n",
        "| ID | Title | Status |\n|---|---|---|\n| 1 | Log | Accepted |\n| 2 | Bell | Superseded |\n",
        "| Endpoint | Status |\n|---|---|\n| /a | 200 |\n",
        "- [x](https://example.org) a link\n- [ref]: here\n- [ ]no space\n",
        "    - [ ] in code\n",
        "",
    ] {
        let document = read(text);
        assert!(document.entries.is_empty(), "{text}: {:?}", told(&document));
        assert!(document.problems.is_empty(), "{text}: {:?}", document.problems);
    }
}

#[test]
fn ids_of_plans_are_seen_and_words_are_not() {
    let ids = |text: &str| -> Vec<String> {
        read(text)
            .entries
            .iter()
            .map(|e| format!("{}|{}", e.id.as_ref().map_or("", TaskId::as_str), e.fields.title))
            .collect()
    };
    assert_eq!(
        ids(
            "- [ ] T001 a\n- [ ] T-12 b\n- [ ] P6.1.1: c\n- [ ] 1. d\n  - [ ] 1.2 e\n- [ ] #7 f\n- [ ] **SHOP-3** — g\n- [ ] SHOP-4 h\n- [ ] `T-13` i\n"
        ),
        [
            "T001|a", "T-12|b", "P6.1.1|c", "1|d", "1.2|e", "#7|f", "SHOP-3|g", "SHOP-4|h", "T-13|i"
        ]
    );
    assert_eq!(
        ids(
            "- [ ] UTF-8 everywhere\n- [ ] 3 apples\n- [ ] P1 matters\n- [ ] SHA256 sums\n- [ ] fix it: now\n- [ ] [docs](x) first\n"
        ),
        [
            "|UTF-8 everywhere",
            "|3 apples",
            "|P1 matters",
            "|SHA256 sums",
            "|fix it: now",
            "|[docs](x) first"
        ]
    );
}

#[test]
fn our_own_board_is_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/TASKS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let document = read(&text);
    assert!(document.entries.len() >= 10 && document.problems.is_empty());
    for index in 0..document.entries.len() {
        for state in TaskState::ALL {
            let edited = edit_text(&text, &document, index, &wish(Field::Status, state.title())).unwrap();
            assert_eq!(edited.lines().count(), text.lines().count());
        }
    }
}

/// Pieces that files are made of, and their combinations.
fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z ]{1,24}",
        Just("数据 ünïcødé 🚀".to_owned()),
        Just("a \\| b".to_owned()),
        Just("`x\\|y` **bold** [l](u)".to_owned()),
        Just("<br> &amp; ~~old~~ \\".to_owned()),
        "[ -~]{0,20}".prop_map(|s| s.replace(['|', '\\'], "/")),
    ]
}

fn table() -> impl Strategy<Value = String> {
    let row = (0u32..40, words(), 0usize..6, words(), any::<bool>(), 0usize..3);
    (
        proptest::collection::vec(row, 0..12),
        any::<bool>(),
        proptest::sample::subsequence(vec!["Priority", "Owner", "Notes", "Estimate 🕐"], 0..4),
        any::<bool>(),
    )
        .prop_map(|(rows, with_id, more, wide)| {
            let mut header: Vec<&str> = if with_id { vec!["ID"] } else { Vec::new() };
            header.extend(["Title", "Status"]);
            header.extend(&more);
            let header: Vec<&str> = header
                .into_iter()
                .map(|h| if h == "Title" { "Task" } else { h })
                .collect();
            let mut out = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
            for (id, title, status, extra, closed, short) in rows {
                let status = ["Todo", "in progress", "✅ Done", "Blocked", "Review", ""][status];
                let mut cells = if with_id {
                    vec![format!("T-{id}")]
                } else {
                    Vec::new()
                };
                cells.extend([title, status.to_owned()]);
                cells.extend(more.iter().map(|_| extra.clone()));
                cells.truncate(cells.len().saturating_sub(short).max(2));
                let pad = if wide { "      " } else { " " };
                let body = cells.join(&format!("{pad}| "));
                out.push_str(&if closed {
                    format!("| {body}{pad}|\n")
                } else {
                    format!("| {body}\n")
                });
            }
            out
        })
}

fn list() -> impl Strategy<Value = String> {
    let item = (
        0usize..3,
        proptest::sample::select(vec!["[ ]", "[x]", "[~]", "[!]", "[?]", ""]),
        proptest::sample::select(vec!["", "T001 ", "T-12: ", "**P6.1.1**: ", "#4 ", "[P] "]),
        words(),
        proptest::sample::select(vec!["", " @ana", " (High)", " (P1) @ben", "  ", "\n  wrapped on"]),
    );
    proptest::collection::vec(item, 0..12).prop_map(|items| {
        items
            .into_iter()
            .map(|(depth, mark, id, title, tail)| {
                let space = if mark.is_empty() { "" } else { " " };
                format!("{}- {mark}{space}{id}{title}{tail}\n", "  ".repeat(depth))
            })
            .collect()
    })
}

fn file() -> impl Strategy<Value = String> {
    let block = prop_oneof![
        table(),
        list(),
        Just("## Phase 🛠 | two\n".to_owned()),
        Just("Prose, with | a pipe.\n".to_owned()),
        Just("```\n| ID | Task | Status |\n- [ ] T1 code\n```\n".to_owned()),
        Just("> - [ ] quoted\n".to_owned()),
    ];
    (
        proptest::collection::vec(block, 0..6),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(blocks, crlf, end)| {
            let mut text = blocks.join("\n");
            if !end {
                text = text.trim_end().to_owned();
            }
            if crlf { text.replace('\n', "\r\n") } else { text }
        })
}

/// A board of many rows, as large as any that is kept by hand.
pub(super) fn large(rows: usize) -> String {
    let mut text = String::from(
        "# Tasks\n\n| ID | Title | Status | Priority | Owner | Notes |\n|---|---|---|---|---|---|\n",
    );
    for n in 1..=rows {
        let state = TaskState::ALL[n % 5].title();
        text.push_str(&format!(
            "| T-{n} | Make the `part {n}` of the **whole** work with its neighbours | {state} | High | ana | waits T-{}; see [the plan](PLAN.md) |\n",
            n / 2 + 1
        ));
    }
    text
}

#[test]
fn two_thousand_lines_are_no_burden() {
    let text = large(2000);
    let edited = set(&text, "T-1999", Field::Status, "Review").unwrap();
    assert_eq!(read(&edited).entries.len(), 2000);
    let changed = text.lines().zip(edited.lines()).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 1);
}

#[test]
fn a_task_goes_below_one_whose_title_begins_below_its_id() {
    let text = "- 数据\r\n- [ ] T001 \r\n  wrapped on";
    let document = read(text);
    let fields = Fields {
        title: "aaa".into(),
        status: TaskState::Todo,
        priority: String::new(),
        owner: String::new(),
        notes: String::new(),
    };
    let (edited, _) = add::add(PATH, text, &document, &"T002".parse().unwrap(), &fields, None).unwrap();
    assert_eq!(edited, format!("{text}\r\n- [ ] T002: aaa\r\n"));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("AGENTD_TEST_LONG").is_some() { 5000 } else { 300 },
        ..ProptestConfig::default()
    })]

    /// An edit that is granted reads back as wished, alters no other task, and leaves every other byte in place.
    #[test]
    fn edits_are_lossless(text in file(), pick in any::<prop::sample::Index>(), field in 0usize..5, value in words(), state in 0usize..5) {
        let document = read(&text);
        if document.entries.is_empty() || document.broken().is_some() {
            return Ok(());
        }
        let index = pick.index(document.entries.len());
        let field = Field::ALL[field];
        let value = if field == Field::Status { TaskState::ALL[state].title().to_owned() } else { value };
        let Ok(edited) = edit_text(&text, &document, index, &wish(field, &value)) else { return Ok(()) };
        let after = read(&edited);
        prop_assert_eq!(after.entries.len(), document.entries.len());
        for (at, (old, new)) in document.entries.iter().zip(&after.entries).enumerate() {
            if at == index {
                for other in Field::ALL.into_iter().filter(|other| *other != field) {
                    prop_assert_eq!(old.fields.get(other), new.fields.get(other));
                }
            } else {
                prop_assert_eq!(&old.fields, &new.fields);
            }
            prop_assert_eq!(&old.id, &new.id);
        }
        // All lines but those of the edited task are the same bytes.
        let (old, new): (Vec<&str>, Vec<&str>) = (text.split('\n').collect(), edited.split('\n').collect());
        let same_head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
        let same_tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
        prop_assert!(old.len().max(new.len()) <= same_head + same_tail + 2 || old == new, "{:?} -> {:?}", text, edited);
        // There and back again is no change at all, padding aside.
        let back = edit_text(&edited, &after, index, &wish(field, document.entries[index].fields.get(field)));
        if let Ok(back) = back {
            prop_assert_eq!(told(&read(&back)), told(&document));
        }
    }

    /// Adding changes nothing that is there.
    #[test]
    fn additions_are_insertions(text in file(), title in "[a-z]{3,12}") {
        let document = read(&text);
        if document.broken().is_some() {
            return Ok(());
        }
        let id = add::next_id(&document).unwrap_or("Z-1".parse().unwrap());
        let fields = Fields { title, status: TaskState::Todo, priority: String::new(), owner: String::new(), notes: String::new() };
        let (edited, after) = match add::add(PATH, &text, &document, &id, &fields, None) {
            Ok(done) => done,
            Err(error) => return Err(TestCaseError::fail(format!("{error} in {text:?}"))),
        };
        prop_assert_eq!(after.entries.len(), read(&edited).entries.len());
        prop_assert!(after.entries.iter().any(|entry| entry.fields == fields));
        prop_assert!(edited.len() > text.len());
        let prefix = text.bytes().zip(edited.bytes()).take_while(|(a, b)| a == b).count();
        prop_assert!(edited.ends_with(&text[prefix..]), "{:?} -> {:?}", text, edited);
    }

    /// Reading never fails, whatever the bytes.
    #[test]
    fn reading_never_panics(text in "\\PC*", marks in "[-|\\[\\]x~! \n#*`@()T0-9]{0,200}") {
        let _ = read(&text);
        let _ = read(&marks);
    }
}
