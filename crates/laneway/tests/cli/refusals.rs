//! What is refused: with which exit code, in which words, and that nothing is written then.

use anyhow::Result;

use crate::{TRADE, check, run_offline, run_with_input, sandbox};

/// A lane that is wrong in one place, applied beside a group that is right.
#[test]
fn every_mistake_is_told_with_line_field_value_and_remedy_and_nothing_is_written() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    let refused = |from: &str, to: &str, words: &str| -> Result<()> {
        let wrong = TRADE.replace(from, to);
        assert_ne!(wrong, TRADE);
        let result = run_with_input(&sandbox, &["apply", "-f", "-"], &wrong)?;
        let told = format!("laneway: standard input:{words}\n");
        assert_eq!(result.code, Some(1), "{to}");
        assert!(result.stderr.starts_with(&told), "{}", result.stderr);
        assert_eq!(result.stdout, "");
        check(&sandbox.run(&["get", "LaneGroup", "-A"])?, 0, "no lanegroups\n", "");
        // The same without a control plane.
        let offline = run_offline(&sandbox, &["check", "-f", "-"], &wrong)?;
        assert_eq!(offline.code, Some(1), "{offline:?}");
        Ok(())
    };
    let condition = "33 (document 4): Lane trade-gray: spec.entry.content.conditions[0]";
    refused(
        "\"==\"",
        "\"=~\"",
        &format!(
            "{condition}.operator: `=~`: use one of ==, !=, in, notIn, percentage, regex, prefix, exists, notExists, cidr"
        ),
    )?;
    refused(
        "\"==\", value: gray",
        "regex, value: \"(\"",
        &format!(
            "{condition}.value: `(`: use RE2 syntax (no look-around, no back-references): error: unclosed group"
        ),
    )?;
    refused(
        "\"==\", value: gray",
        "percentage, value: 200",
        &format!("{condition}.value: `200`: use a whole number from 0 to 100, without quotes"),
    )?;
    refused(
        "tag: gray\n",
        "tag: gray\n  fallback: [gray]\n",
        "30 (document 4): Lane trade-gray: spec.fallback[0]: `gray`: name another lane: a lane cannot fall back to itself",
    )?;
    refused(
        "group: trade\n",
        "group: trad\n",
        "28 (document 4): Lane trade-gray: spec.group: `trad`: name a group that exists: there is no LaneGroup trad",
    )?;
    refused(
        "value: gray",
        "valeu: gray",
        "33 (document 4): spec.entry.content.conditions[0].valeu: `gray`: unknown field: use one of `header`, `query`, `cookie`, `claim`, `attribute`, `operator`, `value`, `values`",
    )?;
    refused(
        "kind: Lane\n",
        "kind: Lain\n",
        "25 (document 4): kind: `Lain`: use one of ServiceSource, Backend, Certificate, BackendTLSPolicy, Gateway, HTTPRoute, GRPCRoute, TLSRoute, LaneGroup, Lane",
    )?;
    refused(
        "spec:\n  group",
        "spec: [\n  group",
        "29: write valid YAML or JSON: while parsing a flow mapping, did not find expected ',' or '}' at line 29, column 6",
    )
}

#[test]
fn what_others_need_is_not_deleted() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    let blue = "---\napiVersion: laneway.io/v1alpha1\nkind: Lane\nmetadata: {name: blue}\nspec: {group: trade, fallback: [gray], entry: {content: {conditions: [{header: canary, operator: exists}]}}}\n";
    sandbox.apply(blue)?;
    let refused = |arguments: &[&str], words: &str| -> Result<()> {
        let result = sandbox.run(arguments)?;
        assert_eq!(result.code, Some(1));
        assert!(result.stderr.contains(words), "{}", result.stderr);
        Ok(())
    };
    refused(
        &["delete", "LaneGroup", "trade"],
        "LaneGroup trade: delete its lanes first: trade/gray, trade/blue",
    )?;
    refused(
        &["delete", "Lane", "trade-gray"],
        "Lane trade-gray: take it out of the fallback of trade/blue first",
    )?;
    check(&sandbox.run(&["delete", "lane", "trade/blue"])?, 0, "Lane blue deleted\n", "");
    check(&sandbox.run(&["delete", "lane", "trade/gray"])?, 0, "Lane trade-gray deleted\n", "");
    check(&sandbox.run(&["delete", "lanegroup", "trade"])?, 0, "LaneGroup trade deleted\n", "");
    Ok(())
}

#[test]
fn a_write_over_somebody_elses_change_is_refused() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    let read = sandbox.must(&["get", "lane", "trade/gray", "-o", "yaml"])?;
    sandbox.must(&["lane", "disable", "trade/gray"])?;
    let late = run_with_input(
        &sandbox,
        &["apply", "-f", "-"],
        &read.replace("priority: 0", "priority: 1"),
    )?;
    assert_eq!(late.code, Some(1));
    assert!(
        late.stderr.starts_with("laneway: changed meanwhile: Lane trade-gray"),
        "{}",
        late.stderr
    );
    Ok(())
}

#[test]
fn a_check_knows_what_the_control_plane_has_and_writes_nothing() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    let documents: Vec<&str> = TRADE.split("---\n").collect();
    let lane = documents[3];
    let checked = run_with_input(&sandbox, &["check", "-f", "-"], lane)?;
    let told = "error: standard input:5: Lane trade-gray: spec.group: `trade`: name a group that exists: there is no LaneGroup trade\n";
    check(&checked, 1, told, "");
    sandbox.apply(documents[2])?;
    let checked = run_with_input(&sandbox, &["check", "-f", "-"], lane)?;
    check(&checked, 0, "1 resources, nothing to say\n", "");
    check(&sandbox.run(&["get", "lanes"])?, 0, "no lanes in namespace default\n", "");
    // Alone, files must be complete; the gateway that exists without an object counts as there.
    let offline = run_offline(&sandbox, &["check", "-f", "-"], TRADE)?;
    check(&offline, 0, "4 resources, nothing to say\n", "");
    Ok(())
}

#[test]
fn the_samples_are_right_and_have_every_kind() -> Result<()> {
    let sandbox = sandbox()?;
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples");
    let kinds = format!("{samples}/kinds");
    for (files, count) in [(samples, 7), (kinds.as_str(), 19)] {
        let checked = run_offline(&sandbox, &["check", "-f", files], "")?;
        check(&checked, 0, &format!("{count} resources, nothing to say\n"), "");
    }
    // The certificate is added by a command: a key is no sample.
    let https = run_offline(&sandbox, &["check", "-f", &format!("{samples}/https")], "")?;
    let said = "name a Certificate: there is no Certificate shop\n";
    assert!(https.code == Some(0) && https.stdout.ends_with(said), "{https:?}");
    assert_eq!((https.stdout.lines().count(), https.stderr.as_str()), (1, ""), "{https:?}");
    for kind in api::resource::Kind::ALL {
        let file = format!("{kinds}/{}.yaml", kind.name().to_lowercase());
        let text = std::fs::read_to_string(&file)?;
        assert!(text.contains(&format!("kind: {kind}\n")), "{file}");
    }
    Ok(())
}

#[test]
fn exit_codes_tell_failure_usage_and_settings_apart() -> Result<()> {
    let sandbox = sandbox()?;
    let code =
        |arguments: &[&str]| sandbox.run(arguments).map(|result| (result.code, result.stderr));
    let (failed, said) = code(&["get", "lanes"])?;
    assert_eq!(failed, Some(1));
    assert!(said.starts_with("laneway: call the control plane at http://"), "{said}");
    for usage in [
        &["get", "pods"][..],
        &["lane", "enable", "trade"],
        &["lane", "ratio", "trade/gray", "101"],
        &["lane", "ratio", "trade/gray", "1.234"],
        &["explain", "/a", "-H", "canary"],
        &["delete", "lane"],
        &["delete", "lane", "a", "-f", "b"],
        &["apply"],
        &["frobnicate"],
    ] {
        let (result, said) = code(usage)?;
        assert_eq!(result, Some(2), "{usage:?}: {said}");
        assert!(said.starts_with("error: "), "{said}");
    }
    let (settings, said) = code(&["get", "lanes", "--server", "control:7600"])?;
    assert_eq!(
        (settings, said.as_str()),
        (
            Some(64),
            "laneway: server: `control:7600`: use http://HOST:PORT; was http://control:7600 meant?\n"
        )
    );
    for (server, remedy) in [
        ("", "server: ``: it is empty: use http://HOST:PORT\n"),
        (":::", "server: `:::`: use http://HOST:PORT\n"),
        ("http://me:secret@127.0.0.1:7600", "use http://127.0.0.1:7600 with --token-file"),
        ("http://127.0.0.1:7600/console", "has no path of its own: use http://127.0.0.1:7600\n"),
        ("http://127.0.0.1:7600?a=b", "has no path of its own"),
    ] {
        let (settings, said) = code(&["get", "lanes", "--server", server])?;
        assert_eq!(settings, Some(64), "{said}");
        assert!(said.contains(remedy) && !said.contains("secret"), "{said}");
    }
    let (failed, said) = code(&["apply", "-f", "/absent.yaml"])?;
    assert_eq!(failed, Some(1));
    assert!(said.contains("/absent.yaml"), "{said}");
    assert!(sandbox.must(&["completions", "bash"])?.contains("laneway"));
    Ok(())
}
