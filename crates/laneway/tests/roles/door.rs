//! The API's door: hosts, origins, tokens, and other users of this machine.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use anyhow::{Context, Result};
use testkit::{Instance, Sandbox, http, needs, wait};

use crate::{SOON, sandbox};

/// A user who is not the one that runs the tests; becoming it takes root.
const ANOTHER_USER: u32 = 54_321;

const JSON: &str = "content-type: application/json";
const LANES: &str = "/api/v1alpha1/lanes";
const APPLY: &str = "/api/v1alpha1/apply";

/// Runs `laneway` as another user; `None` where the tests may not become one.
fn as_another_user(sandbox: &Sandbox, arguments: &[&str]) -> Result<Option<(i32, String)>> {
    // Worlds with network namespaces are root's.
    if !needs("netns") {
        return Ok(None);
    }
    // A copy that everybody may run: the build may be where nobody else looks.
    let program = std::env::temp_dir().join(format!("laneway-{}", std::process::id()));
    fs::copy(env!("CARGO_BIN_EXE_laneway"), &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let output = Command::new(&program)
        .args(arguments)
        .env_clear()
        .env("LANEWAY_SERVER", format!("http://{}", sandbox.api_address()))
        .current_dir("/")
        .uid(ANOTHER_USER)
        .gid(ANOTHER_USER)
        .output();
    fs::remove_file(&program)?;
    let output = output?;
    let code = output.status.code().context("it ended by itself")?;
    Ok(Some((code, String::from_utf8_lossy(&output.stderr).into_owned())))
}

#[test]
fn another_user_of_this_machine_must_show_the_token() -> Result<()> {
    let sandbox = sandbox()?;
    let _serve = sandbox.control(&[])?;
    let token = sandbox.path("control").join("api-token");
    assert_eq!(fs::metadata(&token)?.permissions().mode() & 0o777, 0o600);
    // The user that runs it needs none, over the command line or otherwise.
    sandbox.must(&["get", "lanes"])?;
    assert_eq!(http::get(&sandbox.api_address(), LANES, &[])?.status, 200);

    let Some((code, said)) = as_another_user(&sandbox, &["get", "lanes"])? else { return Ok(()) };
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("Bearer TOKEN") && said.contains("--token-file"), "{said}");
    let written = as_another_user(&sandbox, &["lane", "disable", "trade/gray"])?;
    assert_eq!(written.map(|(code, _)| code), Some(1));

    let shown = std::env::temp_dir().join(format!("laneway-token-{}", std::process::id()));
    fs::copy(&token, &shown)?;
    fs::set_permissions(&shown, fs::Permissions::from_mode(0o644))?;
    let told =
        as_another_user(&sandbox, &["get", "lanes", "--token-file", &shown.to_string_lossy()]);
    fs::remove_file(&shown)?;
    assert_eq!(told?, Some((0, String::new())));
    Ok(())
}

#[test]
fn what_the_api_answers_is_kept_by_nobody_and_nothing_is_of_no_kind() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let api = sandbox.api_address();
    for (method, path, headers, status) in [
        ("GET", LANES, &[][..], 200),
        ("GET", "/readyz", &[], 200),
        ("GET", LANES, &["authorization: Bearer guessed"], 401),
        ("POST", APPLY, &["content-type: text/plain"], 415),
        // Nobody is signed in here, which is another matter.
        ("POST", "/api/v1alpha1/sign-out", &[], 204),
    ] {
        let answer = http::exchange(&api, method, path, headers, "")?;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        let said = |name| http::header(&answer.head, name).map(str::to_owned);
        assert_eq!(said("cache-control").as_deref(), Some("no-store"), "{}", answer.head);
        assert_eq!(said("x-content-type-options").as_deref(), Some("nosniff"), "{}", answer.head);
    }
    Ok(())
}

/// A request in a tunnel: the status it is answered with, or that of a tunnel that is refused.
fn through_tunnel(proxy: &str, to: &str, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_read_timeout(Some(SOON))?;
    write!(stream, "CONNECT {to} HTTP/1.1\r\nhost: {to}\r\n\r\n")?;
    let mut answered = vec![0; 1024];
    let count = stream.read(&mut answered)?;
    if answered.starts_with(b"HTTP/1.1 200") {
        write!(stream, "{request} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n")?;
        answered.clear();
        stream.read_to_end(&mut answered)?;
    } else {
        answered.truncate(count);
    }
    let answered = String::from_utf8_lossy(&answered);
    Ok(answered.split(' ').nth(1).unwrap_or_default().to_owned())
}

#[test]
fn a_sidecar_lends_its_user_to_nobody() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let _b = sandbox.begin_sidecar(&Instance::of_chain("B", None, 12))?;
    let _c = sandbox.start(&Instance::of_chain("C", None, 13))?;
    let (proxy, api) = (sandbox.endpoint(12, 15001), sandbox.api_address());
    let ip: Ipv4Addr = sandbox.host(1).parse()?;
    wait::until(SOON, "the sidecar listens", || Ok(TcpStream::connect(&proxy).map(drop)?))?;
    let others = sandbox.endpoint(13, 15020);
    for (address, path) in [(&api, LANES), (&others, "/status")] {
        assert_eq!(http::get(address, path, &[])?.status, 200, "the user that runs it");
        let through = http::get(&proxy, &format!("http://{address}{path}"), &[])?;
        assert_eq!(through.status, 401, "{address} {}", through.body);
        assert_eq!(through_tunnel(&proxy, address, &format!("GET {path}"))?, "401", "{address}");
        assert_eq!(through_tunnel(&proxy, address, "GET /healthz")?, "200", "{address}");
    }
    let disable = "/api/v1alpha1/namespaces/default/lanes/trade-gray";
    // A number is no address to the door: whoever is not this process's host is refused for that.
    let spelt = [
        (api.clone(), 401),
        (format!("[::ffff:{ip}]:7600"), 401),
        (format!("{ip}.:7600"), 401),
        (format!("{}:7600", u32::from(ip)), 421),
    ];
    for (to, expected) in spelt {
        let target = format!("http://{to}{disable}");
        let status = http::exchange(&proxy, "DELETE", &target, &[], "")?.status;
        assert_eq!(status, expected, "{to}");
        let in_tunnel = through_tunnel(&proxy, &to, &format!("DELETE {disable}"))?;
        assert_eq!(in_tunnel, expected.to_string(), "{to}");
    }
    // Who shows the token is known through a proxy, too; and what is no door is reached as ever.
    let token = fs::read_to_string(sandbox.path("control").join("api-token"))?;
    let shown = format!("authorization: Bearer {}", token.trim());
    assert_eq!(http::get(&proxy, &format!("http://{api}{LANES}"), &[&shown])?.status, 200);
    let application = format!("http://{}/", sandbox.endpoint(13, 8080));
    assert_eq!(http::get(&proxy, &application, &[])?.status, 200);
    Ok(())
}

#[test]
fn without_authentication_whoever_reaches_it_may_write() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&["--api-auth", "none"])?;
    assert!(!sandbox.path("control").join("api-token").exists());
    let Some((code, said)) = as_another_user(&sandbox, &["get", "lanes"])? else { return Ok(()) };
    assert_eq!(code, 0, "{said}");
    Ok(())
}

#[test]
fn a_page_elsewhere_can_neither_write_nor_read() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&["--allowed-hosts", "laneway.example"])?;
    let api = sandbox.api_address();
    let apply = |headers: &[&str]| {
        let headers = [&[JSON], headers].concat();
        Ok::<_, anyhow::Error>(
            http::exchange(&api, "POST", APPLY, &headers, r#"{"objects":[]}"#)?.status,
        )
    };
    assert_eq!(apply(&[])?, 200);
    assert_eq!(apply(&["host: laneway.example"])?, 200);
    let own = format!("origin: http://{api}");
    assert_eq!(apply(&[&own])?, 200);
    assert_eq!(apply(&["host: evil.example:7600"])?, 421);
    assert_eq!(apply(&["host: evil.example:7600", "origin: http://evil.example:7600"])?, 421);
    assert_eq!(apply(&["origin: http://evil.example"])?, 403);
    // What a proxy of this user hands on is not this user's.
    assert_eq!(apply(&["x-forwarded-for: 192.0.2.1"])?, 401);
    let token = fs::read_to_string(sandbox.path("control").join("api-token"))?;
    let shown = format!("authorization: Bearer {}", token.trim());
    assert_eq!(apply(&["x-forwarded-for: 192.0.2.1", &shown])?, 200);

    for target in [LANES, "/status", "/log-level", "/metrics", "/healthz"] {
        assert_eq!(http::get(&api, target, &["host: evil.example"])?.status, 421, "{target}");
    }
    let absolute = http::get(&api, "http://evil.example/status", &[])?;
    assert_eq!(absolute.status, 421);
    let forwarded = ["via: 1.1 somewhere"];
    assert_eq!(http::exchange(&api, "PUT", "/log-level", &forwarded, "debug")?.status, 401);
    assert_eq!(http::get(&api, "/metrics", &forwarded)?.status, 200);
    let metrics = http::get(&api, "/metrics", &[])?.body;
    for reason in ["host", "origin", "token"] {
        let counted = format!("laneway_api_refused_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&counted), "{counted} in {metrics}");
    }
    Ok(())
}

#[test]
fn off_loopback_it_starts_only_when_told_so() -> Result<()> {
    let sandbox = sandbox()?;
    let data = sandbox.path("control").to_string_lossy().into_owned();
    let result = sandbox.run(&["control", "--api-listen", "0.0.0.0:0", "--data", &data])?;
    assert_eq!(result.code, Some(64));
    assert!(result.stderr.contains("api-plain-text: `false`: say true"), "{}", result.stderr);
    Ok(())
}
