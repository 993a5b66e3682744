//! A lane promoted from the command line.

use anyhow::Result;
use testkit::{CommandResult, wait};

use crate::{SOON, TRADE, check, sandbox};

#[test]
fn a_lane_is_promoted_step_by_step_and_goes_on_after_a_restart() -> Result<()> {
    let sandbox = sandbox()?;
    let mut serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    let promote =
        |words: &[&str]| sandbox.run(&[&["lane", "promote", "trade/gray"], words].concat());
    let must = |words: &[&str]| sandbox.must(&[&["lane", "promote", "trade/gray"], words].concat());
    check(
        &promote(&["--check"])?,
        1,
        "",
        "laneway: lane trade/gray is not being promoted: `laneway lane promote trade/gray` begins\n",
    );
    let begun = must(&["--idle-seconds", "1"])?;
    for words in [
        "applications  spring-cloud-a\n",
        "now   1 verdict  the lane is no worse than base\n",
        "confirm: too little traffic to say",
        "laneway lane promote trade/gray --next verdict --confirm verdict\n",
    ] {
        assert!(begun.contains(words), "{words:?} is not in\n{begun}");
    }
    assert_eq!(promote(&["--check"])?.code, Some(4));
    is_refused(&promote(&["--next"])?, 1, "verdict: too little");
    is_refused(&promote(&["--next", "gone"])?, 2, "use one of verdict, base");
    assert!(must(&["--next", "verdict", "--confirm", "verdict"])?.contains("now   2 base"));
    // The answer was lost, and the same is sent again.
    let twice = promote(&["--next", "verdict", "--confirm", "all"])?;
    is_refused(&twice, 1, "at step base, not verdict");

    serve.kill();
    let _serve = sandbox.serve(&[])?;
    let json: serde_json::Value = serde_json::from_str(&must(&["-o", "json"])?)?;
    assert_eq!((&json["step"], &json["group"]), (&"base".into(), &"trade".into()));
    wait::until_true(SOON, "base is as it was", || {
        promote(&["--next", "--confirm", "version"])
            .is_ok_and(|it| it.stderr.contains("1 of 1 instances of base were there"))
    })?;
    sandbox.apply(&TRADE.replace("127.0.0.1:9991", "127.0.0.1:9981"))?;
    wait::until_true(SOON, "base is new", || {
        must(&[]).is_ok_and(|said| said.contains("ok: all 1 instances of base are new"))
    })?;
    assert!(must(&["--next", "--confirm", "version"])?.contains("now   3 health"));
    assert!(sandbox.must(&["lane", "status", "trade/gray"])?.contains(": enabled,"));
    let closed = must(&["--next", "--confirm", "errors/spring-cloud-a", "--note", "INC-1"])?;
    assert!(closed.contains("now   4 drain"), "{closed}");
    assert!(sandbox.must(&["lane", "status", "trade/gray"])?.contains("paused at the entrance"));
    wait::until_true(SOON, "the lane is empty", || {
        promote(&["--check"]).is_ok_and(|it| it.code == Some(0))
    })?;
    let last = must(&["--next", "drain"])?;
    assert!(
        last.contains("--next remove --confirm files --confirm removal, which deletes the lane\n"),
        "{last}"
    );
    let done = must(&["--next", "remove", "--confirm", "files", "--confirm", "removal"])?;
    assert!(
        done.contains("promoted: ")
            && done.contains("still there: spring-cloud-a 127.0.0.1:9992\n"),
        "{done}"
    );
    assert!(!sandbox.must(&["get", "lanes"])?.contains("trade/gray"));
    assert_eq!(promote(&["--check"])?.code, Some(0));
    is_refused(&promote(&["--abandon"])?, 1, "the promotion has ended");
    let audit = sandbox.must(&["audit"])?;
    assert!(audit.contains("promotion of trade/gray") && audit.contains("INC-1"), "{audit}");
    Ok(())
}

#[test]
fn what_somebody_else_does_to_the_lane_ends_the_promotion_and_says_so() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    sandbox.must(&["lane", "promote", "trade/gray"])?;
    let abandoned = sandbox.must(&["lane", "promote", "trade/gray", "--abandon"])?;
    assert!(abandoned.contains("abandoned: "), "{abandoned}");
    let again = sandbox.run(&["lane", "promote", "trade/gray"])?;
    is_refused(&again, 1, "was abandoned at step verdict");
    is_refused(&again, 1, "`laneway lane promote trade/gray --anew`");
    sandbox.must(&["lane", "promote", "trade/gray", "--anew"])?;
    let twice = sandbox.run(&["lane", "promote", "trade/gray", "--anew"])?;
    is_refused(&twice, 1, "is being promoted already: --anew is said at its beginning");
    sandbox.must(&["lane", "disable", "trade/gray"])?;
    let stopped = sandbox.run(&["lane", "promote", "trade/gray", "--check"])?;
    assert_eq!(stopped.code, Some(3), "{stopped:?}");
    assert!(
        stopped.stdout.contains("stopped: spec.enabled of the lane was changed by "),
        "{stopped:?}"
    );
    let disabled = sandbox.run(&["lane", "promote", "trade/gray"])?;
    is_refused(&disabled, 1, "is disabled");
    is_refused(&disabled, 1, "was stopped at step verdict");
    Ok(())
}

fn is_refused(result: &CommandResult, code: i32, because: &str) {
    assert!(result.code == Some(code) && result.stderr.contains(because), "{result:?}");
}
