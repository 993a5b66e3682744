//! An operator's day: the commands that people know from elsewhere.

use std::fs;

use anyhow::{Result, ensure};
use testkit::{Process, wait};

use crate::{SOON, TRADE, check, run_with_input, sandbox};

#[test]
fn what_files_would_change_is_told_before() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    let diff = |input: &str| run_with_input(&sandbox, &["diff", "-f", "-"], input);
    let group = TRADE.split("---\n").nth(2).unwrap_or_default();
    let new = diff(group)?;
    assert_eq!(new.code, Some(1));
    assert!(new.stdout.starts_with("LaneGroup trade is new\n+ apiVersion: "), "{}", new.stdout);
    sandbox.apply(TRADE)?;
    check(&diff(TRADE)?, 0, "", "");
    sandbox.must(&["lane", "disable", "trade/gray"])?;
    check(&diff(TRADE)?, 0, "", "");
    let lane = TRADE.split("---\n").nth(3).unwrap_or_default();
    let told = "Lane trade-gray changes\n~ spec.enabled: false -> true: takes back what somebody changed\n~ spec.priority: 0 -> 3\n";
    check(&diff(&format!("{lane}  enabled: true\n  priority: 3\n"))?, 1, told, "");
    // It could not be found out: no difference and no mistake of the command line.
    assert_eq!(diff("kind: [")?.code, Some(2));
    Ok(())
}

#[test]
fn resources_are_shown_as_asked_for() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    let labelled = TRADE.replace("{name: trade-gray}", "{name: trade-gray, labels: {team: a}}");
    sandbox.apply(&labelled)?;
    let get = |words: &[&str]| sandbox.must(&[&["get"], words].concat());
    assert_eq!(get(&["lane,group", "-o", "name"])?, "lane/trade-gray\nlanegroup/trade\n");
    assert_eq!(
        get(&["lane/trade-gray", "group/trade", "-o", "name"])?,
        "lane/trade-gray\nlanegroup/trade\n"
    );
    assert_eq!(get(&["lanes", "-l", "team=a", "-o", "name"])?, "lane/trade-gray\n");
    check(
        &sandbox.run(&["get", "lanes", "-l", "team!=a"])?,
        0,
        "no lanes in namespace default\n",
        "",
    );
    assert_eq!(get(&["lanes", "-o", "jsonpath={.items[*].spec.tag}"])?, "gray\n");
    assert_eq!(get(&["lane", "trade/gray", "-o", "jsonpath={.metadata.name}"])?, "trade-gray\n");
    assert!(get(&["lanes", "-o", "wide"])?.contains("team=a"));
    // Of lists the JSON is a list as kubectl's, which `apply` takes.
    let list = get(&["all", "-o", "json"])?;
    let read: serde_json::Value = serde_json::from_str(&list)?;
    assert_eq!((&read["kind"], read["items"].as_array().map(Vec::len)), (&"List".into(), Some(4)));
    // The server may stand before the verb.
    let server = format!("http://{}", sandbox.api_address());
    let mut command = sandbox.laneway(&["--server", &server, "-n", "default", "get", "lanes"]);
    command.env_remove("LANEWAY_SERVER");
    assert!(String::from_utf8(command.output()?.stdout)?.contains("trade-gray"));
    let elsewhere = "no instances in namespace nowhere; there are 3 in others: see them with -A\n";
    assert_eq!(get(&["instances", "-n", "nowhere"])?, elsewhere);
    assert!(get(&["services", "-n", "nowhere"])?.starts_with("no services in namespace nowhere"));
    assert_eq!(get(&["services", "-A"])?, get(&["services", "-n", "default"])?);
    let listed = get(&["instances", "-o", "yaml"])?;
    assert!(listed.starts_with("items:\n"), "{listed}");
    let unwatched = sandbox.run(&["get", "instances", "-w"])?;
    assert!(unwatched.code == Some(2) && unwatched.stderr.contains("of one kind"), "{unwatched:?}");
    let instances = get(&["instances"])?;
    assert!(instances.starts_with("ADDRESS         APPLICATION     TAG   HEALTH  SOURCE  SERVICES  WEIGHT  WHY\n127.0.0.1:9991  spring-cloud-a  base  usable  fixed   "), "{instances}");
    assert!(get(&["services"])?.contains("sc-A  spring-cloud-a  fixed"));
    assert_eq!(get(&["instances", "-o", "jsonpath={.items[1].tag}"])?, "gray\n");
    // Directories beneath, files one after the other, and what is named twice.
    let directory = sandbox.path("files");
    fs::create_dir_all(directory.join("beneath"))?;
    let documents: Vec<&str> = TRADE.split("---\n").collect();
    fs::write(directory.join("beneath/group.yaml"), documents[2])?;
    fs::write(directory.join("lane.yaml"), documents[3])?;
    let shown = directory.to_string_lossy().into_owned();
    assert_eq!(sandbox.must(&["apply", "-f", &shown])?, "Lane trade-gray configured\n");
    assert_eq!(
        sandbox.must(&["apply", "-R", "-f", &shown])?,
        "Lane trade-gray unchanged\nLaneGroup trade unchanged\n"
    );
    assert_eq!(
        sandbox.must(&["delete", "lane/trade-gray", "group/trade"])?,
        "Lane trade-gray deleted\nLaneGroup trade deleted\n"
    );
    Ok(())
}

#[test]
fn a_resource_is_described_and_what_happened_to_it_is_told() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    sandbox.must(&["wait", "lane", "trade/gray"])?;
    sandbox.must(&["lane", "disable", "trade/gray"])?;
    let described = sandbox.must(&["describe", "lane", "trade/gray"])?;
    for words in [
        "Name:       trade-gray\n",
        "  enabled: false\n",
        "  Ready  False  Disabled  the lane is disabled",
        "Held by:    1 of 1 data planes have confirmed it",
        "  spring-cloud-a  1 in the lane  1 base\n",
        "  127.0.0.1:9992  spring-cloud-a  gray  usable\n",
        "  Created\n",
        "Changed   spec.enabled: true -> false\n",
    ] {
        assert!(described.contains(words), "no {words:?} in\n{described}");
    }
    let described = sandbox.must(&["describe", "group/trade"])?;
    assert!(described.contains("Needed by:\n  Lane trade-gray\n"), "{described}");
    let events = sandbox.must(&["events"])?;
    for words in ["gateway edge", "Connected", "Lane trade-gray", "source fixed", "Synced"] {
        assert!(events.contains(words), "no {words:?} in\n{events}");
    }
    Ok(())
}

#[test]
fn waiting_ends_when_it_holds_or_is_late() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    assert_eq!(sandbox.must(&["wait", "lane/trade-gray"])?, "Lane trade-gray condition met\n");
    let late = sandbox.run(&["wait", "lane/trade-gray", "--for=delete", "--timeout", "1"])?;
    assert_eq!(late.code, Some(1));
    assert!(late.stderr.starts_with("laneway: Lane trade-gray after 1 s:"), "{}", late.stderr);
    let mut command = sandbox.laneway(&["wait", "lane/trade-gray", "--for=delete"]);
    let waiting = Process::start("wait", &mut command, sandbox.directory())?;
    sandbox.must(&["delete", "lane", "trade/gray"])?;
    wait::until_true(SOON, "the wait ends", || waiting.output().contains("deleted"))?;
    let still = "it is still there\n";
    assert!(late.stderr.contains(still), "{}", late.stderr);
    let gone = sandbox.run(&["wait", "lane/trade-gray"])?;
    assert_eq!(gone.code, Some(1));
    Ok(())
}

#[test]
fn what_is_followed_is_shown_once() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    for words in [&["get", "lanes", "-w"][..], &["get", "lane", "trade/gray", "-w"]] {
        let mut command = sandbox.laneway(words);
        let watch =
            Process::start(&words.join("-").replace('/', "-"), &mut command, sandbox.directory())?;
        wait::until_true(SOON, "what there is", || watch.output().contains("trade/gray  yes"))?;
        sandbox.must(&["lane", "disable", "trade/gray"])?;
        wait::until_true(SOON, "the change", || watch.output().contains("trade/gray  no"))?;
        let output = watch.output();
        assert!(
            !output.contains("ADDED") && output.matches("trade/gray  yes").count() == 1,
            "{output}"
        );
        sandbox.must(&["lane", "enable", "trade/gray"])?;
    }
    Ok(())
}

#[test]
fn the_gateway_that_no_resource_names_is_described_and_waited_for() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    let described = sandbox.must(&["describe", "gateway", "edge"])?;
    assert!(described.contains("Programmed  True"), "{described}");
    let waited = sandbox.must(&["wait", "gateway/edge", "--for=condition=Programmed"])?;
    assert_eq!(waited, "Gateway edge condition met\n");
    let late = sandbox.run(&["wait", "gateway/edge", "--for=condition=Shiny", "--timeout", "1"])?;
    let lacks = "laneway: Gateway edge after 1 s: it has no condition Shiny; it has Accepted";
    assert!(late.code == Some(1) && late.stderr.starts_with(lacks), "{}", late.stderr);
    Ok(())
}

#[test]
fn what_happened_is_told_after_the_control_plane_was_killed() -> Result<()> {
    let sandbox = sandbox()?;
    let mut serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    let log = sandbox.path("serve").join("laneway.db-wal");
    let created = br#""about":"Lane trade-gray","reason":"Created""#;
    wait::until_true(SOON, "it is in the store", || {
        fs::read(&log).is_ok_and(|log| log.windows(created.len()).any(|some| some == created))
    })?;
    serve.kill();
    let _serve = sandbox.serve(&[])?;
    let events = sandbox.must(&["events"])?;
    let lines: Vec<&str> = events.lines().collect();
    let last = |words: &[&str]| {
        lines.iter().rposition(|line| words.iter().all(|words| line.contains(words)))
    };
    let (before, restart) = (last(&["Lane trade-gray", "Created"]), last(&["Started"]));
    assert!(before.is_some() && before < restart, "{events}");
    assert_eq!(events.matches("Started").count(), 2, "{events}");
    let awaited = lines.iter().find(|line| line.contains("Admitting"));
    assert!(awaited.is_none_or(|line| line.contains("normal")), "{events}");
    Ok(())
}

#[test]
fn an_installation_is_analyzed() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(TRADE)?;
    sandbox.must(&["route", "add", "a", "--prefix", "/a", "--backend", "sc-A"])?;
    sandbox.must(&["wait", "lane/trade-gray"])?;
    wait::until(SOON, "every source has told everything", || {
        let quiet = sandbox.must(&["analyze"])?;
        let nothing = "5 resources, 2 services, 3 instances, 1 data planes: nothing to say\n";
        ensure!(quiet == nothing, "{quiet}");
        Ok(())
    })?;
    sandbox.must(&["route", "add", "z", "--prefix", "/z", "--backend", "typo"])?;
    let blue = "apiVersion: laneway.io/v1alpha1\nkind: Lane\nmetadata: {name: blue, annotations: {laneway.io/trusted: 'true'}}\nspec: {group: trade, entry: {content: {conditions: [{header: canary, operator: '==', value: blue}]}}}\n";
    sandbox.apply(blue)?;
    let analyzed = sandbox.run(&["analyze"])?;
    assert_eq!(analyzed.code, Some(1));
    for words in [
        "error: Backend typo: spec.service: source embedded knows no service typo\n",
        "warning: Lane blue: no application has an instance of its tag",
        "warning: Lane blue: metadata.annotations.laneway.io/trusted: nothing reads it",
    ] {
        assert!(analyzed.stdout.contains(words), "no {words:?} in\n{}", analyzed.stdout);
    }
    Ok(())
}

#[test]
fn a_wrong_address_is_told_with_what_is_there_and_what_was_meant() -> Result<()> {
    let sandbox = sandbox()?;
    let nobody = format!("http://{}", sandbox.endpoint(9, 7600));
    let asked = |server: &str, code: i32, words: &[&str]| -> Result<()> {
        let result = sandbox.run(&["get", "lanes", "--server", server])?;
        assert_eq!(result.code, Some(code), "{server}: {}", result.stderr);
        for words in words {
            assert!(result.stderr.contains(words), "no {words:?} in {}", result.stderr);
        }
        Ok(())
    };
    asked(&nobody, 1, &["nobody listens there: start `laneway serve`"])?;
    let _serve = sandbox.serve(&[])?;
    let api = sandbox.api_address();
    let discovery = api.replace(":7600", ":7601");
    asked(
        &format!("http://{}", sandbox.gateway_address()),
        1,
        &["404", "that is a gateway or a sidecar"],
    )?;
    asked(&format!("http://{discovery}"), 1, &["discovery's address, perhaps", "port 7600"])?;
    let told = sandbox.run(&["status", "--server", &format!("http://{discovery}")])?.stderr;
    let begins =
        format!("laneway: http://{discovery} is not the API of a control plane: discovery's");
    assert!(told.starts_with(&begins) && told.lines().count() == 1, "{told}");
    assert!(!told.contains("client error") && !told.contains("unexpected message"), "{told}");
    asked(&format!("https://{api}"), 64, &["does not speak TLS: use http://"])?;
    asked(&api, 64, &[&format!("was http://{api} meant?")])?;
    // A data plane that is given the API's address, and a variable that is no setting's.
    let mut command = sandbox.laneway(&["gateway", "--control", &api, "--data"]);
    command.arg(sandbox.path("lost")).env("LANEWAY_GATEWAY_LISTN", "127.0.0.1:1");
    command.args(["--gateway-listen", &sandbox.endpoint(4, 8000)]);
    command.args(["--admin-listen", &sandbox.endpoint(4, 15020)]);
    let lost = Process::start("lost", &mut command, sandbox.directory())?;
    wait::until_true(SOON, "what was meant", || {
        let said = lost.output();
        said.contains("the API's address, perhaps") && said.contains("port 7601")
    })?;
    let said = lost.output();
    assert!(
        said.contains("no setting is read from this variable")
            && said.contains("LANEWAY_GATEWAY_LISTN"),
        "{said}"
    );
    Ok(())
}

#[test]
fn what_is_not_right_yet_is_told() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.serve(&[])?;
    let added = sandbox.run(&["route", "add", "t", "--backend", "typo"])?;
    let told = "warning: no source knows a service typo: until an instance registers as one, requests are answered 503\n";
    check(&added, 0, "Backend typo created\nHTTPRoute t created\n", told);
    let fixed = TRADE.split("---\n").next().unwrap_or_default();
    for (address, words) in [
        ("127.0.0.1:0", "write the port"),
        ("0.0.0.0:1", "every address of a machine"),
        ("224.0.0.1:1", "this one is of many"),
        ("[::ffff:127.0.0.1]:9991", "list each address once"),
    ] {
        let wrong = fixed.replace("127.0.0.1:9992", address);
        let refused = run_with_input(&sandbox, &["apply", "-f", "-"], &wrong)?;
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    let lane = TRADE.split("---\n").nth(3).unwrap_or_default();
    let far = run_with_input(
        &sandbox,
        &["check", "-f", "-"],
        &format!("{lane}  priority: 1099511627776\n"),
    )?;
    assert!(
        far.stderr.contains("write a whole number, -2147483648 to 2147483647"),
        "{}",
        far.stderr
    );
    let much = "apiVersion: laneway.io/v1alpha1\nkind: Lane\nmetadata: {name: much}\nspec: {group: trade, entry: {ratio: {percent: 1e3}}}\n";
    let much = run_with_input(&sandbox, &["check", "-f", "-"], much)?;
    assert!(much.stdout.contains("spec.entry.ratio.percent: `1e3`: "), "{}", much.stdout);
    let empty = run_with_input(&sandbox, &["check", "-f", "-"], "# nothing\n")?;
    check(&empty, 0, "", "warning: the files have no resources; nothing to check\n");
    let negative = sandbox.run(&["lane", "ratio", "trade/gray", "-1"])?;
    assert!(negative.code == Some(2) && negative.stderr.contains("'-1'"), "{}", negative.stderr);
    let path = sandbox.path("token");
    fs::write(&path, "short\n")?;
    let short = path.to_string_lossy().into_owned();
    let refused = sandbox.run(&["control", "--join-token-file", &short])?;
    assert!(refused.code == Some(64) && refused.stderr.contains("too short"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn both_releases_are_told() -> Result<()> {
    let sandbox = sandbox()?;
    let alone = sandbox.run(&["version"])?;
    assert_eq!(alone.code, Some(1));
    assert!(alone.stdout.starts_with("client  ") && !alone.stdout.contains("server"));
    assert_eq!(sandbox.run(&["version", "--client"])?.code, Some(0));
    let _serve = sandbox.serve(&[])?;
    ensure!(sandbox.must(&["version"])?.contains("\nserver  "));
    Ok(())
}
