//! Owns: the tests of the frames.

use super::*;

#[test]
fn frames_survive_the_wire() {
    let end = End {
        status: -1,
        signal: 9,
        timed_out: true,
        duration_us: 7,
        ..End::default()
    };
    for frame in [
        FromJail::Hello {
            version: VERSION,
            shell: 3,
            outer: false,
        },
        FromJail::Finished {
            exec: "x-1".into(),
            out: 1,
            err: 2,
            cap: 3,
            end,
            umask: 0o22,
            cwd: b"/a\xff".to_vec(),
        },
        FromJail::Refused {
            exec: "x-1".into(),
            why: Refusal::MountsLost,
        },
        FromJail::Limit {
            exec: Some("x-1".into()),
            bound: Bound::DiskGrowth,
            limit: 9,
        },
        FromJail::Limit {
            exec: None,
            bound: Bound::Memory,
            limit: 9,
        },
        FromJail::Waiting {
            exec: "x-1".into(),
            waits: true,
            error: false,
        },
        FromJail::Written {
            exec: "x-1".into(),
            writer: "tab 2".into(),
            taken: Taken::Next(7),
        },
        FromJail::Jobs {
            processes: vec![JobProcess {
                exec: "x-1".into(),
                pid: 9,
                command: b"sleep 9".to_vec(),
            }],
        },
    ] {
        assert_eq!(FromJail::decode(&frame.encode()).as_ref(), Ok(&frame));
    }
    for frame in [
        ToJail::Input {
            exec: "x-2".into(),
            offset: 9,
            data: vec![0, 1],
            eof: true,
        },
        ToJail::Write {
            exec: "x-2".into(),
            writer: String::new(),
            offset: 9,
            data: vec![0, 1],
            eof: false,
        },
        ToJail::EndJob { exec: "x-2".into() },
        ToJail::Jobs,
        ToJail::Spawn { restore: None },
        ToJail::Spawn {
            restore: Some("r1".into()),
        },
        ToJail::Freeze,
        ToJail::Thaw,
        ToJail::End,
    ] {
        let bytes = frame.encode();
        assert_eq!(ToJail::decode(&bytes).as_ref(), Ok(&frame));
        for cut in 0..bytes.len() {
            assert!(ToJail::decode(&bytes[..cut]).is_err(), "{frame:?} cut at {cut}");
        }
    }
}

#[test]
fn an_id_that_leaves_the_directory_is_refused() {
    let frame = ToJail::Interrupt { exec: "../x".into() }.encode();
    assert_eq!(ToJail::decode(&frame), Err(BadFrame));
}
