//! Children that a parent does not let in, or no longer.

use super::*;

async fn a_revoked_child_writes_nothing_more(flavor: Flavor) {
    let pair = Pair::start(flavor).await;
    pair.at_child("UPDATE location SET description = 'before' LIMIT 1").await;
    pair.in_step().await;
    pair.parent.says(&["revoke", "clinic-12"]);
    edge::sleep(Duration::from_secs(2)).await;
    pair.at_child("UPDATE location SET description = 'after' LIMIT 1").await;
    let mut words = String::new();
    for _ in 0..100 {
        words = pair.child.says(&["status"]);
        if words.contains("revoked") {
            break;
        }
        edge::sleep(Duration::from_millis(200)).await;
    }
    assert!(words.contains("revoked"), "{words}");
    let after = "SELECT COUNT(*) FROM location WHERE description = 'after'";
    assert_eq!(pair.parent_says(after).await.as_deref(), Some("0"));
    let stranger = pair.another("clinic-13");
    let refused = stranger.command(&["join", "not-a-token"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("token"), "{words}");
}

/// It has a certificate of this parent, whose folder is an older one now.
async fn a_child_that_the_parent_does_not_know_writes_nothing(flavor: Flavor) {
    let mut pair = Pair::start(flavor).await;
    pair.at_child("UPDATE location SET description = 'before' LIMIT 1").await;
    pair.in_step().await;
    assert_eq!(pair.parent.terminate(), Some(0), "{}", pair.parent.log());
    let data = pair.parent.config.with_file_name("data");
    let before = pair.parent.config.with_file_name("data.before");
    let copied =
        std::process::Command::new("cp").arg("-a").args([&data, &before]).status().unwrap();
    assert!(copied.success());
    pair.parent.start();
    let mut stranger = pair.another("clinic-13");
    let token = pair.parent.says(&["invite", "clinic-13"]);
    let token = token.lines().last().unwrap();
    for tries in 0.. {
        let joined = stranger.command(&["join", token]);
        if joined.status.success() {
            break;
        }
        let words = String::from_utf8_lossy(&joined.stderr).into_owned();
        assert!(tries < 100, "{words}");
        edge::sleep(Duration::from_millis(200)).await;
    }
    pair.child.kill9();
    assert_eq!(pair.parent.terminate(), Some(0), "{}", pair.parent.log());
    std::fs::rename(&data, data.with_file_name("data.lost")).unwrap();
    std::fs::rename(&before, &data).unwrap();
    pair.parent.start();
    stranger.start();
    let mut status = Value::Null;
    for tries in 0.. {
        let output = stranger.command(&["status", "--json"]);
        status = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if !status["capture"]["position"].is_null() {
            break;
        }
        assert!(tries < 300, "{status:#}\n{}", stranger.log());
        edge::sleep(Duration::from_millis(100)).await;
    }
    pair.at_child("UPDATE location SET description = 'stranger' LIMIT 1").await;
    for tries in 0.. {
        let link = &status["links"][0];
        let words = link["last_error"].as_str().unwrap_or_default();
        if words.contains("knows no child") && link["waiting_transactions"] == 1 {
            break;
        }
        assert!(tries < 300, "{status:#}\n{}", stranger.log());
        edge::sleep(Duration::from_millis(100)).await;
        status = stranger.status();
    }
    let written = "SELECT COUNT(*) FROM location WHERE description = 'stranger'";
    assert_eq!(pair.parent_says(written).await.as_deref(), Some("0"));
    assert_eq!(stranger.terminate(), Some(0), "{}", stranger.log());
    // The one it knows goes on.
    pair.child.start();
    pair.must_be_equal().await;
}

on_both!(a_revoked_child_writes_nothing_more, a_child_that_the_parent_does_not_know_writes_nothing,);
