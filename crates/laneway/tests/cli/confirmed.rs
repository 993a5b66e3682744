//! Whether what was written is everywhere, and who keeps it from that.

use anyhow::Result;
use rustix::process::Signal;
use testkit::wait;

use crate::{SOON, TRADE, check, run_with_input, sandbox};

#[test]
fn a_change_that_is_not_confirmed_in_time_fails_and_names_who_has_not() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let gateway = sandbox.gateway(&sandbox.discovery_address())?;
    sandbox.apply(TRADE)?;
    wait::until_true(SOON, "the gateway has all", || {
        sandbox.must(&["lane", "status", "trade/gray"]).is_ok_and(|it| it.contains("Ready True"))
    })?;
    gateway.signal(Signal::STOP);
    let lane = TRADE.split("---\n").nth(3).unwrap_or_default();
    let urgent = format!("{lane}  priority: 7\n");
    let late = ["apply", "--timeout", "1", "-f", "-"];
    let applied = run_with_input(&sandbox, &late, &urgent)?;
    assert_eq!((applied.code, applied.stdout.as_str()), (Some(1), "Lane trade-gray configured\n"));
    let told = "laneway: not live everywhere after 1 s\nlaneway: not confirmed by gateway edge";
    assert!(applied.stderr.starts_with(told), "{}", applied.stderr);
    // Nothing was written, nothing is waited for.
    let unchanged = run_with_input(&sandbox, &late, &urgent)?;
    check(&unchanged, 0, "Lane trade-gray unchanged\n", "");
    let added = sandbox.run(&[
        "route",
        "add",
        "a",
        "--prefix",
        "/a",
        "--backend",
        "sc-a",
        "--timeout",
        "1",
    ])?;
    assert!(added.code == Some(1) && added.stderr.starts_with(told), "{}", added.stderr);
    let deleted = sandbox.run(&["delete", "lane", "trade/gray", "--timeout", "1"])?;
    assert_eq!((deleted.code, deleted.stdout.as_str()), (Some(1), "Lane trade-gray deleted\n"));
    assert!(deleted.stderr.starts_with(told), "{}", deleted.stderr);
    let at_once = run_with_input(&sandbox, &["apply", "--wait=false", "-f", "-"], lane)?;
    check(&at_once, 0, "Lane trade-gray created\n", "");
    gateway.signal(Signal::CONT);
    let again = sandbox.run(&["delete", "--wait", "lane", "trade/gray"])?;
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "Lane trade-gray deleted\n"));
    Ok(())
}

#[test]
fn what_was_applied_is_let_in_when_the_verb_returns() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    let lane = TRADE.split("---\n").nth(3).unwrap_or_default();
    for tag in ["blue", "red", "white"] {
        let written = lane.replace("gray", tag);
        run_with_input(&sandbox, &["apply", "-f", "-"], &written)?;
        let path = [
            "get",
            "lane",
            &format!("trade/{tag}"),
            "-o",
            "jsonpath={.status.conditions[0].reason}",
        ];
        assert_eq!(sandbox.must(&path)?, "Live\n", "{tag}");
    }
    Ok(())
}
