//! Data planes outlive their control plane, start from disk without it, and leave without a failed request.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Shutdown, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use testkit::{Instance, Process, Sandbox, http, load, load::Load, needs, sample};

use crate::{SOON, answers, fixed, sandbox, says};

/// A resources directory with one file.
fn resources(sandbox: &Sandbox, content: &str) -> Result<String> {
    let directory = sandbox.path("resources");
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("all.yaml"), content)?;
    Ok(directory.to_string_lossy().into_owned())
}

/// An application that needs no sidecar.
fn application(sandbox: &Sandbox, host: u8) -> Result<Process> {
    let program = testkit::application::program()?;
    let mut command = Command::new(program);
    command.args(["C", &sandbox.endpoint(host, 8080)]);
    Process::start(&format!("C-{host}"), &mut command, sandbox.directory())
}

#[test]
fn a_gateway_restarted_without_its_control_plane_serves_from_disk() -> Result<()> {
    let sandbox = sandbox()?;
    let _application = application(&sandbox, 3)?;
    let directory = resources(&sandbox, &fixed(&sandbox.endpoint(3, 8080)))?;
    let mut control = sandbox.control(&["--resources", &directory])?;
    let mut gateway = sandbox.gateway(&sandbox.discovery_address())?;
    answers(&sandbox.gateway_address(), "/c", 200, "C[")?;

    control.kill();
    let admin = sandbox.endpoint(1, 15020);
    answers(&admin, "/readyz", 200, r#""ready":true,"stale":true"#)?;
    answers(&sandbox.gateway_address(), "/c", 200, "C[")?;
    // Gracefully: what it holds is on disk when it has ended.
    gateway.ask_to_stop();
    assert_eq!(gateway.wait_for_end(SOON)?.code(), Some(0));

    let mut gateway = sandbox.start_gateway("gateway", 1, &sandbox.discovery_address())?;
    answers(&sandbox.gateway_address(), "/c", 200, "C[")?;
    answers(&admin, "/readyz", 200, "comes from disk")?;
    answers(&admin, "/metrics", 200, "laneway_control_connected 0")?;
    gateway.kill();

    // A spoilt copy is no configuration, and is told.
    let snapshot = sandbox.path("gateway").join("snapshot");
    let mut content = fs::read(&snapshot).context("the snapshot")?;
    let last = content.len() - 1;
    content[last] ^= 1;
    fs::write(&snapshot, content)?;
    let gateway = sandbox.start_gateway("gateway", 1, &sandbox.discovery_address())?;
    says(&gateway, "the last configuration is spoilt")?;
    answers(&admin, "/readyz", 503, "no configuration yet")?;

    // And all is well when the control plane is back.
    let _control = sandbox.control(&["--resources", &directory])?;
    answers(&admin, "/readyz", 200, r#""ready":true,"stale":false"#)?;
    answers(&sandbox.gateway_address(), "/c", 200, "C[")
}

/// A gateway whose data directory is a disk of its own, which `prepare` has prepared: its path is `$0` there.
fn gateway_on_a_disk(sandbox: &Sandbox, prepare: &str) -> Result<Process> {
    let (data, admin) = (sandbox.path("disk"), sandbox.endpoint(1, 15020));
    fs::create_dir_all(&data)?;
    let (control, listen) = (sandbox.discovery_address(), sandbox.gateway_address());
    let gateway = sandbox.laneway(&["gateway", "--control", &control, "--gateway-listen", &listen]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("set -e; {prepare}; exec \"$@\"")]);
    command.arg(&data).arg(gateway.get_program()).args(gateway.get_args());
    command.args(["--admin-listen", &admin, "--data"]).arg(&data);
    for (name, value) in gateway.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Process::start("gateway", &mut command, sandbox.directory())
}

#[test]
fn a_gateway_starts_on_a_disk_that_is_full_or_may_only_be_read() -> Result<()> {
    // What mounts is root's, too.
    if !needs("netns") {
        return Ok(());
    }
    let sandbox = sandbox()?;
    let _application = application(&sandbox, 3)?;
    let directory = resources(&sandbox, &fixed(&sandbox.endpoint(3, 8080)))?;
    let _control = sandbox.control(&["--resources", &directory])?;
    for prepare in [
        "mount -t tmpfs -o ro tmpfs \"$0\"",
        "mount -t tmpfs -o size=4k tmpfs \"$0\"; ! dd if=/dev/zero of=\"$0/all\" status=none",
    ] {
        let mut gateway = gateway_on_a_disk(&sandbox, prepare)?;
        answers(&sandbox.gateway_address(), "/c", 200, "C[")?;
        answers(&sandbox.endpoint(1, 15020), "/readyz", 200, r#""ready":true"#)?;
        says(&gateway, "nothing is kept for the next start")?;
        gateway.ask_to_stop();
        assert_eq!(gateway.wait_for_end(SOON)?.code(), Some(0), "{}", gateway.output());
    }
    Ok(())
}

#[test]
fn an_instance_that_is_new_here_starts_from_what_another_of_its_application_was_told() -> Result<()>
{
    let sandbox = sandbox()?;
    let directory = resources(&sandbox, &sample::chain(&["gray"]))?;
    let mut serve = sandbox.serve(&["--resources", &directory])?;
    let chain = [("A", 11), ("B", 12), ("C", 13)];
    let chain = chain.map(|(name, host)| sandbox.start(&Instance::of_chain(name, None, host)));
    let _chain = chain.into_iter().collect::<Result<Vec<_>>>()?;
    answers(&sandbox.gateway_address(), "/a", 200, "C[")?;
    let copies = sandbox.path("state/laneway/shared");
    let all_know = |wanted: &str| -> Result<bool> {
        let knows = |entry: fs::DirEntry| -> Result<bool> {
            Ok(fs::read(entry.path())?.windows(wanted.len()).any(|it| it == wanted.as_bytes()))
        };
        let known =
            fs::read_dir(&copies)?.map(|entry| knows(entry?)).collect::<Result<Vec<_>>>()?;
        Ok(known.len() == 3 && known.iter().all(|known| *known))
    };
    testkit::wait::until(SOON, "a copy of each application that knows all of the group", || {
        for host in [11, 12, 13] {
            let address = sandbox.endpoint(host, 15006);
            anyhow::ensure!(all_know(&address)?, "{address}");
        }
        Ok(())
    })?;
    serve.kill();
    // It has no data of its own, and nobody tells it anything.
    let new = sandbox.start(&Instance::of_chain("A", None, 31))?;
    says(&new.sidecar, "serving the last configuration from disk")?;
    let answer = http::get(&sandbox.endpoint(31, 15006), "/a", &[])?;
    let hosts = [31, 12, 13].map(|host| sandbox.host(host));
    assert!(hosts.iter().all(|host| answer.body.contains(&format!("[{host}]"))), "{answer:?}");
    // Another application has nothing to start from.
    let other = sandbox.begin(&Instance { name: "D", ..Instance::of_chain("C", None, 32) })?;
    answers(&sandbox.endpoint(32, 15020), "/readyz", 503, "no configuration yet")?;
    drop(other);
    Ok(())
}

#[test]
fn a_lame_duck_says_so_and_goes_on_until_it_is_asked_again() -> Result<()> {
    let sandbox = sandbox()?;
    let _application = application(&sandbox, 3)?;
    let directory = resources(&sandbox, &fixed(&sandbox.endpoint(3, 8080)))?;
    let _control = sandbox.control(&["--resources", &directory])?;
    let (listen, admin) = (sandbox.gateway_address(), sandbox.endpoint(1, 15020));
    let mut command = sandbox.laneway(&["gateway", "--control", &sandbox.discovery_address()]);
    command.args(["--gateway-listen", &listen, "--admin-listen", &admin]);
    command.args(["--lame-duck-seconds", "3600", "--drain-seconds", "3600", "--data"]);
    command.arg(sandbox.path("gateway"));
    let mut gateway = Process::start("gateway", &mut command, sandbox.directory())?;
    answers(&admin, "/readyz", 200, r#""ready":true"#)?;

    gateway.ask_to_stop();
    answers(&admin, "/readyz", 503, "it has been asked to stop")?;
    for _ in 0..10 {
        assert_eq!(http::get(&listen, "/c", &[])?.status, 200);
    }
    gateway.ask_to_stop();
    assert_eq!(gateway.wait_for_end(SOON)?.code(), Some(1));
    Ok(())
}

#[test]
fn a_sidecar_that_is_asked_to_stop_leaves_without_a_failed_request() -> Result<()> {
    let sandbox = sandbox()?;
    let directory = resources(&sandbox, &sample::routed("c", "embedded"))?;
    let _serve = sandbox.serve(&["--resources", &directory])?;
    let mut leaving = sandbox.start(&Instance::of_chain("C", None, 3))?;
    let _staying = sandbox.start(&Instance::of_chain("C", None, 4))?;
    let gateway = sandbox.gateway_address();
    for host in [3, 4] {
        answers(&gateway, "/c", 200, &format!("C[{}]", sandbox.host(host)))?;
    }
    let load = Load::start(load::Profile {
        address: gateway.clone(),
        rate: 200,
        connections: 8,
        kinds: vec![load::get("/c", &[])],
    });
    let answered = |count| {
        testkit::wait::until_true(SOON, &format!("{count} answers"), || load.answered() >= count)
    };
    answered(100)?;
    leaving.sidecar.ask_to_stop();
    assert_eq!(leaving.sidecar.wait_for_end(SOON)?.code(), Some(0));
    says(&leaving.sidecar, "deregistered")?;
    answered(load.answered() + 100)?;
    let sent = load.stop()?;
    let failed: Vec<_> = sent
        .iter()
        .filter(|sent| !sent.outcome.as_ref().is_ok_and(|(status, _)| *status == 200))
        .collect();
    assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), sent.len(), failed.first());
    let gone = format!("C[{}]", sandbox.host(3));
    let (before, after) = sent.split_at(50);
    let serves =
        |sent: &load::Sent| sent.outcome.as_ref().is_ok_and(|(_, body)| body.starts_with(&gone));
    assert!(before.iter().any(serves), "the instance served before");
    assert!(!after[after.len() - 50..].iter().any(serves), "it does not serve any more");
    Ok(())
}

#[test]
fn a_frozen_sidecar_that_is_the_last_of_its_lane_is_noticed() -> Result<()> {
    let sandbox = sandbox()?;
    let directory = resources(&sandbox, &sample::chain(&["gray"]))?;
    let _serve = sandbox.serve(&["--resources", &directory])?;
    let start =
        |tag, host| sandbox.start(&Instance { calls: None, ..Instance::of_chain("A", tag, host) });
    let (_base, gray) = (start(None, 3)?, start(Some("gray"), 23)?);
    let ask = || http::get(&sandbox.gateway_address(), "/a", &["canary: gray"]);
    let answered_by = |host| {
        let wanted = format!("[{}]", sandbox.host(host));
        testkit::wait::until(SOON, &wanted, || match ask()? {
            answer if answer.body.contains(&wanted) => Ok(()),
            answer => anyhow::bail!("{} {}", answer.status, answer.body),
        })
    };
    answered_by(23)?;
    gray.sidecar.signal(Signal::STOP);
    // Each thread of the gateway learns it by itself: whoever waits for it first has waited seconds.
    let base = format!("[{}]", sandbox.host(3));
    for _ in 0..=std::thread::available_parallelism()?.get() {
        let answer = ask()?;
        assert!(answer.body.contains(&base), "{} {}", answer.status, answer.body);
    }
    let shown = sandbox.must(&["get", "instances"])?;
    let row = shown.lines().find(|row| row.contains(&sandbox.endpoint(23, 15006)));
    assert!(row.is_some_and(|row| row.contains("silent")), "{shown}");
    gray.sidecar.signal(Signal::CONT);
    answered_by(23)
}

#[test]
fn requests_that_wait_for_what_hangs_are_answered_by_another() -> Result<()> {
    let sandbox = sandbox()?;
    let directory = resources(&sandbox, &sample::routed("c", "embedded"))?;
    let _serve = sandbox.serve(&["--resources", &directory])?;
    let start = |host| {
        let instance = Instance::of_chain("C", None, host);
        sandbox.start(&Instance { health_path: Some("/c"), ..instance })
    };
    let (hangs, _stays) = (start(3)?, start(4)?);
    let gateway = sandbox.gateway_address();
    // Its probe says so of an application, a missing heartbeat of a sidecar.
    for process in [&hangs.application, &hangs.sidecar] {
        for host in [3, 4] {
            answers(&gateway, "/c", 200, &format!("C[{}]", sandbox.host(host)))?;
        }
        process.signal(Signal::STOP);
        let load = Load::start(load::Profile {
            address: gateway.clone(),
            rate: 100,
            connections: 8,
            kinds: vec![load::get("/c", &[])],
        });
        testkit::wait::until_true(SOON, "200 answers", || load.answered() >= 200)?;
        let sent = load.stop()?;
        process.signal(Signal::CONT);
        let failed: Vec<_> = sent
            .iter()
            .filter(|sent| !sent.outcome.as_ref().is_ok_and(|(status, _)| *status == 200))
            .collect();
        let (name, first) = (process.name(), failed.first());
        assert!(first.is_none(), "{name}: {} of {} failed: {first:?}", failed.len(), sent.len());
        let longest = sent.iter().map(|sent| sent.until.duration_since(sent.at)).max();
        let slow = longest.is_some_and(|longest| longest > Duration::from_millis(500));
        assert!(slow, "{name}: somebody waited for it: {longest:?}");
    }
    Ok(())
}

#[test]
fn what_an_application_calls_unread_is_told_by_the_control_plane() -> Result<()> {
    let sandbox = sandbox()?;
    let _application = application(&sandbox, 3)?;
    let directory = resources(&sandbox, &fixed(&sandbox.endpoint(3, 8080)))?;
    let _serve = sandbox.serve(&["--resources", &directory])?;
    let _caller = sandbox.start(&Instance::of_chain("A", None, 2))?;
    let protocols = [
        &b"\x16\x03\x01\x00\x00"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
    ];
    for begin in protocols {
        let mut tunnel = TcpStream::connect(sandbox.endpoint(2, 15001))?;
        tunnel.set_read_timeout(Some(SOON))?;
        tunnel.write_all(b"CONNECT sc-C:443 HTTP/1.1\r\nHost: sc-C:443\r\n\r\n")?;
        let mut head = String::new();
        let mut answer = BufReader::new(tunnel.try_clone()?);
        while answer.read_line(&mut head)? > 2 {}
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        tunnel.write_all(begin)?;
        // The application hangs up on what it cannot read, or answers that it cannot.
        tunnel.shutdown(Shutdown::Write)?;
        while answer.read_line(&mut head).is_ok_and(|bytes| bytes > 0) {}
    }
    let api = sandbox.api_address();
    // HTTP/2 is read.
    let told = r#""unread":[{"service":"sc-C","protocol":"tls","connections":1}]"#;
    answers(&api, "/api/v1alpha1/status", 200, told)?;
    let status = sandbox.must(&["status"])?;
    assert!(status.contains("sidecar app-a calls sc-C by tls, which passes unread"), "{status}");
    let analyzed = sandbox.run(&["analyze"])?.stdout;
    assert!(analyzed.contains("calls sc-C by tls, which passes unread"), "{analyzed}");
    Ok(())
}

#[test]
fn an_instance_is_registered_when_its_application_answers() -> Result<()> {
    let sandbox = sandbox()?;
    let directory = resources(&sandbox, &sample::routed("c", "embedded"))?;
    let _serve = sandbox.serve(&["--resources", &directory])?;
    let instance = Instance::of_chain("C", None, 3);
    let _sidecar = sandbox.begin_sidecar(&instance)?;
    let admin = sandbox.endpoint(3, 15020);
    answers(&admin, "/readyz", 503, "the application does not answer yet")?;
    answers(&sandbox.gateway_address(), "/c", 503, "")?;

    let mut application = application(&sandbox, 3)?;
    answers(&admin, "/readyz", 200, r#""ready":true"#)?;
    answers(&sandbox.gateway_address(), "/c", 200, "C[")?;

    // When it stops answering its instance is not usable, long before it would expire.
    application.kill();
    answers(&sandbox.gateway_address(), "/c", 503, "no usable")?;
    answers(&admin, "/status", 200, r#""applicationAnswers":false"#)
}

#[test]
fn a_listener_that_cannot_be_bound_is_told_and_tried_again() -> Result<()> {
    let sandbox = sandbox()?;
    let gateway = sandbox.gateway_address();
    let taken = std::net::TcpListener::bind(sandbox.endpoint(1, 0))?;
    let port = taken.local_addr()?.port();
    let own = gateway.rsplit(':').next().unwrap_or_default();
    let _serve = sandbox.serve(&[])?;
    sandbox.apply(&format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec: {{gatewayClassName: laneway, listeners: [{{name: own, port: {own}, protocol: HTTP}}, {{name: second, port: {port}, protocol: HTTP}}]}}\n"
    ))?;
    let edge = "/api/v1alpha1/namespaces/default/gateways/edge";
    let api = sandbox.api_address();
    let told = format!("listener second: port {port}: ");
    answers(&api, edge, 200, &told)?;
    answers(&api, edge, 200, &format!("process {} (", std::process::id()))?;
    answers(&api, edge, 200, r#""reason":"ListenerNotBound""#)?;
    answers(&api, edge, 200, r#""type":"Programmed""#)?;
    let empty = r#""supportedKinds":[{"group":"gateway.networking.k8s.io","kind":"HTTPRoute"}],"attachedRoutes":0"#;
    answers(
        &api,
        edge,
        200,
        &format!(
            r#""listeners":[{{"name":"own",{empty},"conditions":[{{"type":"Programmed","status":"True""#
        ),
    )?;
    answers(
        &api,
        edge,
        200,
        &format!(
            r#"{{"name":"second",{empty},"conditions":[{{"type":"Programmed","status":"False""#
        ),
    )?;
    let status = sandbox.must(&["status"])?;
    assert!(status.contains(&format!("gateway edge does not listen on port {port}: ")), "{status}");

    drop(taken);
    answers(&sandbox.endpoint(1, port), "/nowhere", 404, "")?;
    testkit::wait::until(SOON, "the gateway is ready", || {
        let said = http::get(&api, edge, &[])?.body;
        anyhow::ensure!(!said.contains("ListenerNotBound"), "{said}");
        anyhow::ensure!(said.matches(r#""reason":"Programmed""#).count() == 3, "{said}");
        Ok(())
    })?;
    assert!(!sandbox.must(&["status"])?.contains("does not listen"));
    Ok(())
}
