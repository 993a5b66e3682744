//! Writing, reading, following and deleting resources.

use std::fs;

use anyhow::Result;
use testkit::{Process, wait};

use crate::{SOON, TRADE, check, run_with_input, sandbox};

#[test]
fn what_is_applied_is_shown_and_what_is_shown_can_be_applied() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    let created = "ServiceSource fixed created\nBackend sc-a created\nLaneGroup trade created\nLane trade-gray created\n";
    let would = created.replace("created", "would be created");
    let file = sandbox.path("trade.yaml");
    fs::write(&file, TRADE)?;
    let file = file.to_string_lossy().into_owned();
    check(&sandbox.run(&["apply", "-f", &file, "--dry-run"])?, 0, &would, "");
    check(&sandbox.run(&["get", "lanes"])?, 0, "no lanes in namespace default\n", "");
    check(&sandbox.run(&["apply", "-f", &file])?, 0, created, "");
    let unchanged = created.replace("created", "unchanged");
    check(&run_with_input(&sandbox, &["apply", "-f", "-"], TRADE)?, 0, &unchanged, "");

    for kind in ["ServiceSource", "backends", "lanegroup", "Lane"] {
        for format in ["yaml", "json"] {
            let shown = sandbox.must(&["get", kind, "-o", format])?;
            let again = run_with_input(&sandbox, &["apply", "-f", "-"], &shown)?;
            assert_eq!(again.code, Some(0), "{}\n{shown}", again.stderr);
            assert!(again.stdout.ends_with(" unchanged\n"), "{}", again.stdout);
        }
    }
    let one: serde_json::Value =
        serde_json::from_str(&sandbox.must(&["get", "Lane", "trade/gray", "-o", "json"])?)?;
    assert_eq!(one["metadata"]["name"], "trade-gray");
    assert_eq!(one["status"]["matched"][0]["tagged"], 1);
    let table = sandbox.must(&["get", "lane", "trade-gray"])?;
    let row = table.lines().nth(1).unwrap_or_default();
    assert!(
        row.starts_with("trade-gray  trade/gray  yes      header canary == gray  base "),
        "{table}"
    );
    Ok(())
}

#[test]
fn a_directory_is_one_transaction_in_the_order_of_its_files() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    let directory = sandbox.path("resources");
    fs::create_dir_all(&directory)?;
    let documents: Vec<&str> = TRADE.split("---\n").collect();
    // The lane stands before the group it names.
    fs::write(directory.join("1.yaml"), documents[3])?;
    fs::write(directory.join("2.yaml"), documents[2])?;
    fs::write(directory.join("3.txt"), "no resource")?;
    let directory = directory.to_string_lossy().into_owned();
    check(
        &sandbox.run(&["apply", "-f", &directory])?,
        0,
        "Lane trade-gray created\nLaneGroup trade created\n",
        "",
    );
    // What names others goes first.
    check(
        &sandbox.run(&["delete", "-f", &directory])?,
        0,
        "Lane trade-gray deleted\nLaneGroup trade deleted\n",
        "",
    );
    check(&sandbox.run(&["get", "lane", "-A"])?, 0, "no lanes\n", "");
    // One that others need stays, and so do all: in whatever order files name them.
    sandbox.apply(TRADE)?;
    let group = TRADE.split("---\n").nth(2).unwrap_or_default();
    let source = TRADE.split("---\n").next().unwrap_or_default();
    let refused =
        run_with_input(&sandbox, &["delete", "-f", "-"], &format!("{source}---\n{group}"))?;
    let told = "laneway: ServiceSource fixed: Backend sc-a would miss it: change or delete them first\nlaneway: LaneGroup trade: delete its lanes first: trade/gray\nlaneway: nothing was deleted\n";
    check(&refused, 1, "", told);
    assert!(sandbox.must(&["get", "servicesources"])?.contains("fixed"));
    let deleted = run_with_input(&sandbox, &["delete", "-f", "-"], TRADE)?;
    let all = "ServiceSource fixed deleted\nBackend sc-a deleted\nLaneGroup trade deleted\nLane trade-gray deleted\n";
    check(&deleted, 0, all, "");
    check(
        &sandbox.run(&["get", "gateways"])?,
        0,
        "no gateways in namespace default; until there is one, a gateway named edge serves every route\n",
        "",
    );
    Ok(())
}

#[test]
fn namespaces_are_apart() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    let backend = TRADE.split("---\n").nth(1).unwrap_or_default();
    let fixed = TRADE.split("---\n").next().unwrap_or_default();
    sandbox.apply(fixed)?;
    let applied = run_with_input(&sandbox, &["apply", "-n", "other", "-f", "-"], backend)?;
    check(&applied, 0, "Backend other/sc-a created\n", "");
    // A namespace that is written is kept.
    let written = backend.replace("name: sc-a", "name: sc-a, namespace: third");
    let applied = run_with_input(&sandbox, &["apply", "-n", "other", "-f", "-"], &written)?;
    check(&applied, 0, "Backend third/sc-a created\n", "");
    check(&sandbox.run(&["get", "Backend"])?, 0, "no backends in namespace default\n", "");
    check(
        &sandbox.run(&["get", "Backend", "-A"])?,
        0,
        "NAMESPACE  NAME  SOURCE  SERVICE  PROTOCOL\nother      sc-a  fixed   sc-A     http\nthird      sc-a  fixed   sc-A     http\n",
        "",
    );
    check(
        &sandbox.run(&["delete", "Backend", "sc-a"])?,
        1,
        "",
        "laneway: not found: Backend sc-a does not exist\n",
    );
    check(
        &sandbox.run(&["delete", "backend", "sc-a", "-n", "other"])?,
        0,
        "Backend other/sc-a deleted\n",
        "",
    );
    Ok(())
}

#[test]
fn a_watch_tells_what_is_there_and_then_every_change() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    let mut command = sandbox.laneway(&["watch", "lanes"]);
    let watch = Process::start("watch", &mut command, sandbox.directory())?;
    let mut command = sandbox.laneway(&["watch", "lanes", "-o", "json"]);
    let programs = Process::start("watch-json", &mut command, sandbox.directory())?;
    let says = |process: &Process, beginnings: &[&str]| {
        wait::until_true(SOON, &format!("{beginnings:?} in {:?}", process.output()), || {
            let output = process.output();
            // A change of an object may be told more than once: who confirms it is part of its status.
            let mut told: Vec<Option<usize>> = (output.lines())
                .map(|line| beginnings.iter().position(|beginning| line.starts_with(beginning)))
                .collect();
            told.dedup();
            told.into_iter().eq((0..beginnings.len()).map(Some))
        })
    };
    says(&watch, &["ADDED     Lane trade-gray  trade/gray  yes"])?;
    says(&programs, &["{\"type\":\"ADDED\"", "{\"type\":\"SYNCED\""])?;
    sandbox.must(&["lane", "disable", "trade/gray"])?;
    sandbox.must(&["delete", "lane", "trade/gray"])?;
    says(
        &watch,
        &[
            "ADDED     Lane trade-gray  trade/gray  yes",
            "MODIFIED  Lane trade-gray  trade/gray  no",
            "DELETED   Lane trade-gray  trade/gray  no",
        ],
    )?;
    says(
        &programs,
        &[
            "{\"type\":\"ADDED\"",
            "{\"type\":\"SYNCED\"",
            "{\"type\":\"MODIFIED\"",
            "{\"type\":\"DELETED\"",
        ],
    )
}
