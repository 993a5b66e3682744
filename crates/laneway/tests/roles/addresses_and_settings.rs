//! Addresses are printed, bad settings are refused, and what may change at run time does.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use testkit::{Instance, Process, Sandbox, http, wait};

use crate::{SOON, answers, printed_address, sandbox, says};

/// `laneway serve` with every port chosen by the system.
fn serve_on_chosen_ports(sandbox: &Sandbox, name: &str, more: &[&str]) -> Result<Process> {
    let any = format!("{}:0", sandbox.host(1));
    let mut command = sandbox.laneway(&["serve", "--gateway-listen", &any, "--api-listen", &any]);
    command.args(["--discovery-listen", &any]).args(more);
    command.arg("--data").arg(sandbox.path(name));
    Process::start(name, &mut command, sandbox.directory())
}

#[test]
fn serve_prints_every_address_and_answers_there() -> Result<()> {
    let sandbox = sandbox()?;
    let mut serve = serve_on_chosen_ports(&sandbox, "serve", &[])?;
    let (api, gateway) = (printed_address(&serve, "api")?, printed_address(&serve, "gateway")?);
    printed_address(&serve, "discovery")?;
    assert_eq!(http::get(&api, "/healthz", &[])?.status, 200);
    answers(&api, "/readyz", 200, r#""ready":true,"stale":false"#)?;
    answers(&api, "/metrics", 200, "laneway_control_connected 1")?;
    answers(&api, "/status", 200, r#""role":"serve""#)?;
    assert_eq!(http::get(&gateway, "/nowhere", &[])?.status, 404);
    // No port beside these: a gateway on a chosen port serves what the Gateway says there, not beside it.
    assert!(!serve.output().contains(":8000"), "{}", serve.output());
    serve.ask_to_stop();
    assert_eq!(serve.wait_for_end(SOON)?.code(), Some(0));
    Ok(())
}

#[test]
fn an_access_log_has_what_was_asked_until_the_end_and_is_refused_where_it_cannot_be() -> Result<()>
{
    let sandbox = sandbox()?;
    let path = sandbox.path("access.log").to_string_lossy().into_owned();
    let mut serve = serve_on_chosen_ports(&sandbox, "serve", &["--access-log", &path])?;
    let (api, gateway) = (printed_address(&serve, "api")?, printed_address(&serve, "gateway")?);
    assert_eq!(http::get(&gateway, "/nowhere", &[])?.status, 404);
    answers(&api, "/metrics", 200, r#"laneway_access_log_lines_total{result="written"} 1"#)?;
    assert_eq!(http::get(&gateway, "/elsewhere?secret", &[])?.status, 404);
    serve.ask_to_stop();
    assert_eq!(serve.wait_for_end(SOON)?.code(), Some(0));
    let log = fs::read_to_string(&path)?;
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    for (line, of_request) in lines.iter().zip([r#""path":"/nowhere""#, r#""path":"/elsewhere""#]) {
        assert!(line.contains(of_request) && line.contains(r#""status":404"#), "{log}");
    }
    assert!(!log.contains("secret"), "{log}");
    let pipe = sandbox.path("unread");
    ensure!(Command::new("mkfifo").arg(&pipe).status()?.success(), "mkfifo");
    for (path, why) in [
        (sandbox.path("no/such/access.log"), "No such file"),
        (sandbox.directory().to_owned(), "it is a directory"),
        (pipe, "it is a pipe that nobody reads"),
    ] {
        let path = path.to_string_lossy().into_owned();
        let mut refused = serve_on_chosen_ports(&sandbox, "refused", &["--access-log", &path])?;
        assert_eq!(refused.wait_for_end(SOON)?.code(), Some(1));
        let said = refused.output();
        assert!(said.contains("access-log: open `") && said.contains(&path), "{said}");
        assert!(said.contains(why) && said.contains("a file that this process may make"), "{said}");
        // Nothing was begun: no one-time password is lost, and no address was taken.
        assert!(!said.contains("password") && !said.contains("listening"), "{said}");
        assert!(!sandbox.path("refused").exists(), "{said}");
    }
    Ok(())
}

#[test]
fn an_access_log_goes_to_standard_output_by_its_name_though_that_is_a_socket() -> Result<()> {
    let sandbox = sandbox()?;
    let (gateway, data) = (sandbox.gateway_address(), sandbox.path("serve"));
    let mut serve =
        sandbox.laneway(&["serve", "--access-log", "/dev/stdout", "--gateway-listen", &gateway]);
    serve.args(["--api-listen", &sandbox.api_address(), "--discovery-listen"]);
    serve.arg(sandbox.discovery_address()).arg("--data").arg(&data);
    // As a supervisor has it that reads what its services say.
    let (read, written) = UnixStream::pair()?;
    read.set_read_timeout(Some(SOON))?;
    serve.stdout(OwnedFd::from(written)).stderr(Stdio::null());
    let mut serve = Running(serve.spawn()?);
    answers(&gateway, "/nowhere", 404, "")?;
    let mut lines = BufReader::new(read).lines();
    let line = lines.find(|line| line.as_ref().map_or(true, |line| line.contains("/nowhere")));
    let line = line.context("a line")??;
    assert!(line.contains(r#""path":"/nowhere","status":404"#), "{line}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&serve.0), Signal::TERM)?;
    assert_eq!(serve.0.wait()?.code(), Some(0));
    Ok(())
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_ends_although_nobody_reads_its_access_log() -> Result<()> {
    let sandbox = sandbox()?;
    let (gateway, standard_output) = (sandbox.gateway_address(), sandbox.path("pipe"));
    ensure!(Command::new("mkfifo").arg(&standard_output).status()?.success(), "mkfifo");
    // Open, and never read.
    let _pipe = fs::OpenOptions::new().read(true).write(true).open(&standard_output)?;
    let serve = sandbox.laneway(&["serve", "--access-log", "-", "--gateway-listen", &gateway]);
    let mut command = Command::new("sh");
    command.args(["-c", "out=$1; shift; exec \"$@\" > \"$out\"", "sh"]).arg(&standard_output);
    command.arg(serve.get_program()).args(serve.get_args());
    command.args(["--api-listen", &sandbox.api_address(), "--discovery-listen"]);
    command.arg(sandbox.discovery_address()).arg("--data").arg(sandbox.path("serve"));
    command.env_clear();
    for (name, value) in serve.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let mut serve = Process::start("serve", &mut command, sandbox.directory())?;
    answers(&gateway, "/nowhere", 404, "")?;
    // More than wait to be written: the pipe and the queue are full.
    let mut stream = TcpStream::connect(&gateway)?;
    let mut answered = BufReader::new(stream.try_clone()?);
    for _ in 0..90 {
        stream.write_all("GET /nowhere HTTP/1.1\r\nHost: shop\r\n\r\n".repeat(100).as_bytes())?;
        for _ in 0..100 {
            let mut line = String::new();
            while !line.starts_with("HTTP/1.1 404") {
                line.clear();
                ensure!(answered.read_line(&mut line)? > 0, "the connection has ended");
            }
        }
    }
    drop((stream, answered));
    let api = sandbox.api_address();
    let is_stuck = |text: &str| {
        let stalled =
            text.lines().find_map(|it| it.strip_prefix("laneway_access_log_stalled_seconds "));
        let dropped = text
            .lines()
            .find_map(|it| it.strip_prefix("laneway_access_log_lines_total{result=\"dropped\"} "));
        let is_some = |value: Option<&str>| {
            value.is_some_and(|it| it.parse::<f64>().is_ok_and(|it| it > 0.0))
        };
        is_some(stalled) && is_some(dropped)
    };
    wait::until(SOON, "a log that is said to be stuck", || {
        let told = http::get(&api, "/metrics", &[])?.body;
        ensure!(is_stuck(&told), "{told}");
        Ok(())
    })?;
    answers(&api, "/status", 200, r#""accessLog":{""#)?;
    serve.ask_to_stop();
    assert_eq!(serve.wait_for_end(SOON)?.code(), Some(0));
    Ok(())
}

#[test]
fn every_address_may_be_ipv6() -> Result<()> {
    let sandbox = sandbox()?;
    let any = "[::1]:0";
    let mut command = sandbox.laneway(&["serve", "--gateway-listen", any, "--api-listen", any]);
    command.args(["--discovery-listen", any, "--data"]).arg(sandbox.path("serve"));
    let serve = Process::start("serve", &mut command, sandbox.directory())?;
    let (api, gateway) = (printed_address(&serve, "api")?, printed_address(&serve, "gateway")?);
    answers(&api, "/readyz", 200, r#""ready":true,"stale":false"#)?;
    assert_eq!(http::get(&gateway, "/nowhere", &[])?.status, 404);
    Ok(())
}

#[test]
fn a_data_plane_must_show_the_join_token() -> Result<()> {
    let sandbox = sandbox()?;
    let (token, other) = (sandbox.path("token"), sandbox.path("other"));
    fs::write(&token, "one secret of many letters\n")?;
    fs::write(&other, "another of many letters\n")?;
    let [token, other] = [token, other].map(|path| path.to_string_lossy().into_owned());
    let _control = sandbox.control(&["--join-token-file", &token])?;
    let gateway = |name: &str, token: &str| {
        let any = format!("{}:0", sandbox.host(1));
        let mut command = sandbox.laneway(&["gateway", "--control", &sandbox.discovery_address()]);
        command.args(["--gateway-listen", &any, "--admin-listen", &any]);
        command.args(["--join-token-file", token, "--data"]).arg(sandbox.path(name));
        Process::start(name, &mut command, sandbox.directory())
    };
    let refused = gateway("refused", &other)?;
    answers(
        &printed_address(&refused, "admin")?,
        "/readyz",
        503,
        "join_token is missing or wrong",
    )?;
    let taken = gateway("taken", &token)?;
    answers(&printed_address(&taken, "admin")?, "/readyz", 200, r#""stale":false"#)
}

#[test]
fn bad_settings_end_with_64_and_name_key_value_origin_and_remedy() -> Result<()> {
    let sandbox = sandbox()?;
    let file = sandbox.path("laneway.yaml");
    fs::write(&file, "api-listen: nowhere\n")?;
    let mut command = sandbox.laneway(&["serve", "--gateway-listen", "1", "--config"]);
    command.arg(&file).env("LANEWAY_THREADS", "many");
    let output = command.output()?;
    assert_eq!(output.status.code(), Some(64));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    for expected in [
        format!("api-listen: `nowhere` (from {}): use an address", file.display()),
        "gateway-listen: `1` (from --gateway-listen): use an address".to_owned(),
        "threads: `many` (from LANEWAY_THREADS): use a whole number".to_owned(),
    ] {
        assert!(words.contains(&expected), "{words} lacks {expected}");
    }

    fs::write(&file, "gateway-listne: 127.0.0.1:0\n")?;
    let file = file.to_string_lossy().into_owned();
    let result = sandbox.run(&["serve", "--config", &file])?;
    assert_eq!(result.code, Some(64));
    assert!(result.stderr.contains("gateway-listne: `127.0.0.1:0`"), "{}", result.stderr);

    let result = sandbox.run(&["sidecar"])?;
    assert_eq!(result.code, Some(64));
    assert!(result.stderr.contains("application: ``: name the application"), "{}", result.stderr);
    assert_eq!(sandbox.run(&["serve", "--gateway-liste", "x"])?.code, Some(2));
    Ok(())
}

#[test]
fn a_name_that_nobody_resolves_now_is_no_reason_to_give_up() -> Result<()> {
    let sandbox = sandbox()?;
    let own = sandbox.endpoint(3, 0);
    let sidecar = |address: &str, outbound: &str| {
        let control = sandbox.discovery_address();
        let to = ["sidecar", "--application", "a", "--control", &control, "--app-address", address];
        sandbox.run(&[&to[..], &["--outbound-listen", outbound]].concat())
    };
    let later = sidecar("no-such-host.invalid:8080", &own)?;
    assert_eq!(later.code, Some(1), "{}", later.stderr);
    let words = "app-address: `no-such-host.invalid:8080` (from --app-address): the name stands for no address";
    assert!(later.stderr.contains(words), "{}", later.stderr);
    // What will never be right beside it decides.
    let never = sidecar("no-such-host.invalid:8080", "nowhere")?;
    assert_eq!(never.code, Some(64), "{}", never.stderr);
    assert_eq!(sidecar("no-such-host.invalid:0x", &own)?.code, Some(64));
    Ok(())
}

#[test]
fn a_sidecar_is_not_its_own_application() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let [own, everywhere] = [sandbox.endpoint(3, 15006), "0.0.0.0:15006".to_owned()];
    for listen in ["--inbound-listen", "--outbound-listen", "--admin-listen"] {
        let mut arguments = vec!["sidecar", "--application", "a", "--app-address", &own];
        let control = sandbox.discovery_address();
        let any = sandbox.endpoint(3, 0);
        for key in ["--inbound-listen", "--outbound-listen", "--admin-listen"] {
            let address = if key == listen { &everywhere } else { &any };
            arguments.extend([key, address.as_str()]);
        }
        let data = sandbox.path("own").to_string_lossy().into_owned();
        arguments.extend(["--control", &control, "--data", &data, "--advertise", &own]);
        let result = sandbox.run(&arguments)?;
        let expected = format!("app-address: `{own}` is this sidecar's own");
        assert!(result.code == Some(1) && result.stderr.contains(&expected), "{result:?}");
    }
    Ok(())
}

#[test]
fn a_sidecar_is_no_other_ones_application() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let other = sandbox.begin_sidecar(&Instance::of_chain("C", None, 3))?;
    says(&other, "listening on")?;
    let listening = |port| {
        testkit::wait::until(SOON, "it listens", || {
            Ok(TcpStream::connect(sandbox.endpoint(3, port))?)
        })
    };
    for port in [15006, 15001] {
        drop(listening(port)?);
        let (there, own) = (sandbox.endpoint(3, port), sandbox.endpoint(4, 0));
        let (control, data) = (sandbox.discovery_address(), sandbox.path("sidecar-4"));
        let mut arguments = vec!["sidecar", "--application", "a", "--app-address", &there];
        arguments.extend([
            "--inbound-listen",
            &own,
            "--outbound-listen",
            &own,
            "--admin-listen",
            &own,
        ]);
        let data = data.to_string_lossy();
        arguments.extend(["--control", &control, "--data", &data]);
        let result = sandbox.run(&arguments)?;
        let expected = format!(
            "app-address: `{there}` is where another sidecar listens, process {}",
            other.id()
        );
        assert!(result.code == Some(1) && result.stderr.contains(&expected), "{result:?}");
    }
    Ok(())
}

#[test]
fn a_sidecar_at_every_address_is_nobodys_application_of_another_family() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let application = std::net::TcpListener::bind("[::1]:0")?;
    let port = application.local_addr()?.port();
    let sidecar = |host: u8, inbound: &str, application: &str| {
        let (control, own) = (sandbox.discovery_address(), sandbox.endpoint(host, 0));
        let mut command =
            sandbox.laneway(&["sidecar", "--application", "a", "--control", &control]);
        command.args(["--app-address", application, "--inbound-listen", inbound]);
        command.args(["--outbound-listen", &own, "--admin-listen", &own]);
        command.args(["--advertise", &sandbox.endpoint(host, port)]);
        let name = format!("sidecar-{host}");
        command.arg("--data").arg(sandbox.path(&name));
        Process::start(&name, &mut command, sandbox.directory())
    };
    let everywhere = sidecar(3, &format!("0.0.0.0:{port}"), &sandbox.endpoint(3, 8080))?;
    says(&everywhere, "(admin)")?;
    let beside = sidecar(4, &sandbox.endpoint(4, 0), &format!("[::1]:{port}"))?;
    says(&beside, "(admin)")
}

#[test]
fn an_address_in_use_is_named_with_its_setting() -> Result<()> {
    let sandbox = sandbox()?;
    let taken = std::net::TcpListener::bind(sandbox.endpoint(1, 7600))?;
    let address = taken.local_addr()?.to_string();
    let data = sandbox.path("serve").to_string_lossy().into_owned();
    let result = sandbox.run(&["serve", "--api-listen", &address, "--data", &data])?;
    assert_eq!(result.code, Some(1));
    let who = format!(": process {} (", std::process::id());
    let named = |result: &testkit::CommandResult, key: &str| {
        let expected = format!("{key}: listen on `{address}`");
        assert!(result.stderr.contains(&expected) && result.stderr.contains(&who), "{result:?}");
        assert!(result.stderr.contains(&format!(") listens on {address}")), "{result:?}");
    };
    named(&result, "api-listen");
    let data = sandbox.path("gateway").to_string_lossy().into_owned();
    let discovery = sandbox.discovery_address();
    let mut arguments = vec!["gateway", "--control", &discovery, "--data", &data];
    arguments.extend(["--gateway-listen", &address]);
    let result = sandbox.run(&arguments)?;
    assert_eq!(result.code, Some(1));
    named(&result, "gateway-listen");
    Ok(())
}

#[test]
fn a_data_directory_is_held_by_one_process() -> Result<()> {
    let sandbox = sandbox()?;
    let first = serve_on_chosen_ports(&sandbox, "serve", &[])?;
    printed_address(&first, "api")?;
    let mut second = serve_on_chosen_ports(&sandbox, "serve", &[])?;
    assert_eq!(second.wait_for_end(SOON)?.code(), Some(1));
    says(&second, "is in use by process")
}

#[test]
fn the_log_level_changes_by_request_and_by_reload() -> Result<()> {
    let sandbox = sandbox()?;
    let file = sandbox.path("laneway.yaml");
    fs::write(&file, "log-level: warn\n")?;
    let path = file.to_string_lossy().into_owned();
    let serve = serve_on_chosen_ports(&sandbox, "serve", &["--config", &path])?;
    let api = printed_address(&serve, "api")?;
    answers(&api, "/log-level", 200, "warn")?;
    let changed = http::exchange(&api, "PUT", "/log-level", &[], "info,proxy=debug")?;
    assert_eq!(changed.status, 200, "{}", changed.body);
    answers(&api, "/log-level", 200, "proxy=debug")?;
    let refused = http::exchange(&api, "PUT", "/log-level", &[], "loud")?;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("log-level: `loud`: use error, warn"), "{}", refused.body);

    fs::write(&file, "log-level: debug\n")?;
    serve.signal(Signal::HUP);
    answers(&api, "/log-level", 200, r#""debug""#)?;
    // A file that has become wrong changes nothing, and is told.
    fs::write(&file, "log-level: loud\n")?;
    serve.signal(Signal::HUP);
    says(&serve, "settings are not reloaded")?;
    answers(&api, "/log-level", 200, r#""debug""#)
}
