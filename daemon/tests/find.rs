//! Finding a text in a session's log: window after window, newest first, to the beginning.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod support;

use agentd_proto::{id, pb};
use support::TestDaemon;

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_found_to_the_beginning_of_the_log() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let session = client
        .create_session(pb::CreateSessionRequest {
            request_id: id::request_id(),
            workspace: daemon.project().display().to_string(),
            origin: pb::SessionOrigin::Shell.into(),
            ..Default::default()
        })
        .await
        .unwrap();
    let session_id = session.session.unwrap().session_id;
    for n in 0..6 {
        let command = pb::ExecCommand {
            script: format!("echo (Needle) {n} || true; : x{n}").into_bytes(),
            ..Default::default()
        };
        let request = pb::ExecRequest {
            request_id: id::request_id(),
            session_id: session_id.clone(),
            command: Some(command),
            capture_bytes: 0,
        };
        client.exec(request).await.unwrap();
    }
    let find = |text: &str, before_seq, page_size| pb::FindInSessionRequest {
        session_id: session_id.clone(),
        text: text.to_owned(),
        before_seq,
        page_size,
    };
    let mut seqs = Vec::new();
    let mut before = 0;
    loop {
        let page = client.find_in_session(find("(nEEDLE)", before, 4)).await.unwrap();
        assert!(page.found.iter().all(|one| one.line.contains("(Needle)")));
        seqs.extend(page.found.iter().map(|one| one.seq));
        before = page.next_before_seq;
        if before == 0 {
            break;
        }
    }
    assert_eq!(seqs.len(), 6, "{seqs:?}");
    assert!(seqs.windows(2).all(|pair| pair[0] > pair[1]), "{seqs:?}");
    let none = client.find_in_session(find("n.edle", 0, 0)).await.unwrap();
    assert_eq!((none.found.len(), none.next_before_seq), (0, 0));
    let refused = client.find_in_session(find("  ", 0, 0)).await.unwrap_err();
    assert!(refused.is(pb::ErrorReason::InvalidArgument), "{refused:?}");
}
