//! Data planes join with a token once, and go on with a certificate that they renew.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use testkit::{Process, Sandbox, Switch, http, needs, wait};

use crate::{SOON, answers, fixed, sandbox, says, start_on};

/// Seconds that a certificate is good where it is to be renewed, or to end, within a test.
const SHORT: &str = "12";

const JOINED: &str = "joined: from now on a certificate is shown";

/// A control plane that asks for a token, whose certificates are good for so many seconds.
fn control(sandbox: &Sandbox, life: &str, more: &[&str]) -> Result<Process> {
    let join = sandbox.path("join-token");
    fs::write(&join, "the-token-of-this-mesh-alone")?;
    let join = join.to_string_lossy().into_owned();
    let life = ["--data-plane-certificate-seconds", life];
    sandbox.control(&[&["--join-token-file", &join][..], &life, more].concat())
}

/// Makes a token of an application: its id, and the file that has it.
fn token(sandbox: &Sandbox, application: &str) -> Result<(String, String)> {
    let file = sandbox.path(&format!("{application}.token")).to_string_lossy().into_owned();
    sandbox.must(&["token", "create", "--application", application, "--out", &file])?;
    let token = fs::read_to_string(&file)?;
    ensure!(token.contains("@sha256:"), "it names who signs: {token}");
    let id = token.split('_').nth(1).context("an id")?.to_owned();
    Ok((id, file))
}

/// An application that a sidecar can find.
fn application(sandbox: &Sandbox, host: u8) -> Result<Process> {
    let mut command = Command::new(testkit::application::program()?);
    command.args(["A", &sandbox.endpoint(host, 8080)]);
    Process::start(&format!("A-{host}"), &mut command, sandbox.directory())
}

/// The sidecar of an application on a host, with whatever data directory.
fn sidecar(
    sandbox: &Sandbox,
    (application, host, data): (&str, u8, &str),
    more: &[&str],
) -> Result<Process> {
    let endpoint = |port| sandbox.endpoint(host, port);
    let mut command = sandbox.laneway(&["sidecar", "--application", application]);
    command.args(["--control", &sandbox.discovery_address()]);
    command.args(["--app-address", &endpoint(8080), "--advertise", &endpoint(15006)]);
    command.args(["--outbound-listen", &endpoint(15001), "--inbound-listen", &endpoint(15006)]);
    command.args(["--admin-listen", &endpoint(15020), "--shared-data", "none"]);
    command.args(more).arg("--data").arg(sandbox.path(data));
    Process::start(data, &mut command, sandbox.directory())
}

fn is_registered(sandbox: &Sandbox, host: u8) -> Result<()> {
    answers(&sandbox.endpoint(host, 15020), "/readyz", 200, r#""ready":true,"stale":false"#)
}

fn certificate(sandbox: &Sandbox, data: &str) -> Result<String> {
    Ok(fs::read_to_string(sandbox.path(data).join("certificate.pem"))?)
}

/// Waits for the certificate of a data plane to be another than this.
fn renewed(sandbox: &Sandbox, data: &str, before: &str) -> Result<String> {
    wait::until(SOON, "a renewed certificate", || {
        let now = certificate(sandbox, data)?;
        ensure!(now != before, "{now}");
        Ok(now)
    })
}

#[test]
fn a_sidecar_shows_its_token_once_renews_and_is_cut_when_that_is_revoked() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = control(&sandbox, SHORT, &[])?;
    let (id, file) = token(&sandbox, "app-a")?;
    let _application = application(&sandbox, 11)?;
    let as_a = ("app-a", 11, "sidecar");
    let mut first = sidecar(&sandbox, as_a, &["--join-token-file", &file])?;
    says(&first, JOINED)?;
    is_registered(&sandbox, 11)?;
    let made = certificate(&sandbox, "sidecar")?;
    let mode = fs::metadata(sandbox.path("sidecar").join("certificate.pem"))?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let list = sandbox.must(&["token", "list"])?;
    ensure!(list.contains("1 until "), "{list}");

    // Twice: its stream is older by then than the certificate that it was opened with may be.
    let second = renewed(&sandbox, "sidecar", &made)?;
    renewed(&sandbox, "sidecar", &second)?;
    for words in ["the control plane is away", "interrupted", "not renewed"] {
        ensure!(!first.output().contains(words), "{}", first.output());
    }
    ensure!(first.output().matches(JOINED).count() == 1, "{}", first.output());

    // A restart needs no token.
    first.ask_to_stop();
    ensure!(first.wait_for_end(SOON)?.code() == Some(0), "{}", first.output());
    fs::remove_file(&file)?;
    let again = sidecar(&sandbox, as_a, &[])?;
    is_registered(&sandbox, 11)?;
    // Its words follow those of the first.
    ensure!(again.output().matches(JOINED).count() == 1, "{}", again.output());

    sandbox.must(&["token", "revoke", &id])?;
    says(&again, "was revoked")?;
    wait::until(SOON, "its instance to be taken out", || {
        let instances = sandbox.must(&["get", "instances"])?;
        let is_there = instances.contains(&sandbox.endpoint(11, 15006));
        ensure!(!is_there || instances.contains("draining"), "{instances}");
        Ok(())
    })
}

#[test]
fn a_certificate_that_has_ended_is_told_and_a_token_joins_anew() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = control(&sandbox, SHORT, &[])?;
    let (_, file) = token(&sandbox, "app-a")?;
    let _application = application(&sandbox, 11)?;
    let as_a = ("app-a", 11, "sidecar");
    let mut first = sidecar(&sandbox, as_a, &["--join-token-file", &file])?;
    is_registered(&sandbox, 11)?;
    first.kill();
    let life: u64 = SHORT.parse()?;
    wait::until_true(SOON, "the end of the certificate", || {
        let text = certificate(&sandbox, "sidecar").unwrap_or_default();
        let made = text.lines().find_map(|line| line.strip_prefix("# made "));
        let made = made.and_then(|seconds| seconds.parse().ok()).unwrap_or(u64::MAX / 2);
        SystemTime::now() > UNIX_EPOCH + Duration::from_secs(made + life + 1)
    })?;
    let mut without = sidecar(&sandbox, as_a, &[])?;
    says(&without, "the certificate has ended by the control plane's clock")?;
    without.kill();
    let with = sidecar(&sandbox, as_a, &["--join-token-file", &file])?;
    says(&with, JOINED)?;
    is_registered(&sandbox, 11)
}

#[test]
fn a_certificate_is_good_for_its_application_and_its_data_plane_alone() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = control(&sandbox, "600", &[])?;
    let (_, file) = token(&sandbox, "app-a")?;
    let _application = application(&sandbox, 11)?;
    let mut first = sidecar(&sandbox, ("app-a", 11, "sidecar"), &["--join-token-file", &file])?;
    is_registered(&sandbox, 11)?;
    first.kill();
    // With its node and its certificate.
    let copy = |to: &str, names: &[&str]| -> Result<()> {
        fs::create_dir_all(sandbox.path(to))?;
        for name in names {
            fs::copy(sandbox.path("sidecar").join(name), sandbox.path(to).join(name))?;
        }
        Ok(())
    };
    copy("other", &["node", "certificate.pem"])?;
    let mut other = sidecar(&sandbox, ("app-b", 12, "other"), &[])?;
    says(&other, "hello.name: `app-b`: use app-a, or show another token")?;
    other.kill();
    copy("elsewhere", &["certificate.pem"])?;
    let elsewhere = sidecar(&sandbox, ("app-a", 12, "elsewhere"), &[])?;
    says(&elsewhere, "whose certificate this is")
}

#[test]
fn another_control_plane_is_not_believed_and_shown_no_token() -> Result<()> {
    let sandbox = sandbox()?;
    let mut first = control(&sandbox, "600", &[])?;
    let (_, file) = token(&sandbox, "app-a")?;
    first.kill();
    // Somebody else at the same address, who asks for no token.
    let listen = ["--discovery-listen", &sandbox.discovery_address()];
    let api = sandbox.api_address();
    let mut command = sandbox.laneway(&["control", "--api-listen", &api]);
    command.args(listen).arg("--data").arg(sandbox.path("another"));
    let _another = Process::start("another", &mut command, sandbox.directory())?;
    let _application = application(&sandbox, 11)?;
    let sidecar = sidecar(&sandbox, ("app-a", 11, "sidecar"), &["--join-token-file", &file])?;
    says(&sidecar, "it shows a certificate of authority sha256:")?;
    ensure!(!sandbox.path("sidecar").join("certificate.pem").exists());
    Ok(())
}

#[test]
fn in_the_clear_no_other_machine_is_taken_where_that_is_not_wanted() -> Result<()> {
    if !needs("netns") {
        return Ok(());
    }
    let (sandbox, switch) = (sandbox()?, Switch::new()?);
    let (here, there) = (switch.host(1)?, switch.host(2)?);
    let discovery = format!("{}:7601", here.address());
    let listen = ["--discovery-listen", &discovery, "--discovery-plain-text", "false"];
    let control = start_on(&sandbox, &here, "control", &[&["control"][..], &listen].concat())?;
    says(&control, "(discovery)")?;
    let gateway = ["gateway", "--control", &discovery];
    let mut refused = start_on(&sandbox, &there, "refused", &gateway)?;
    says(&control, "a data plane is refused that connects in the clear")?;
    refused.kill();
    let ca = sandbox.path("ca.pem").to_string_lossy().into_owned();
    let show = sandbox.laneway(&["ca", "show", "--out", &ca]);
    let mut command = here.command(show.get_program());
    command.args(show.get_args()).args(["--server", "http://127.0.0.1:7600", "--data"]);
    let shown = command.arg(sandbox.path("control")).output()?;
    ensure!(shown.status.success(), "{shown:?}");
    let gateway = [&gateway[..], &["--control-ca", &ca]].concat();
    says(&start_on(&sandbox, &there, "gateway", &gateway)?, JOINED)
}

#[test]
fn a_gateway_joins_by_the_token_of_the_mesh_and_learns_another_authority() -> Result<()> {
    let sandbox = sandbox()?;
    let resources = sandbox.path("resources");
    fs::create_dir_all(&resources)?;
    fs::write(resources.join("all.yaml"), fixed(&sandbox.endpoint(11, 8080)))?;
    let resources = resources.to_string_lossy().into_owned();
    let mut control_plane = control(&sandbox, SHORT, &["--resources", &resources])?;
    let _application = application(&sandbox, 11)?;
    let ca = sandbox.path("ca.pem").to_string_lossy().into_owned();
    let shown = sandbox.must(&["ca", "show", "--out", &ca])?;
    let (join, admin) = (sandbox.path("join-token"), sandbox.endpoint(1, 15020));
    let listen = sandbox.gateway_address();
    let mut command = sandbox.laneway(&["gateway", "--control", &sandbox.discovery_address()]);
    command.args(["--gateway-listen", &listen, "--admin-listen", &admin, "--control-ca", &ca]);
    command.arg("--join-token-file").arg(&join).arg("--data").arg(sandbox.path("gateway"));
    let gateway = Process::start("gateway", &mut command, sandbox.directory())?;
    says(&gateway, JOINED)?;
    answers(&listen, "/c", 200, "A[")?;
    let made = certificate(&sandbox, "gateway")?;

    let rotated = sandbox.must(&["ca", "rotate"])?;
    let newest = rotated.split(' ').next().context("a fingerprint")?;
    ensure!(!shown.contains(newest), "{shown} {rotated}");
    let renewed = renewed(&sandbox, "gateway", &made)?;
    ensure!(renewed.matches("BEGIN CERTIFICATE").count() == 3, "{renewed}");
    // Which it goes on with where the control plane comes back, also with a token of before.
    control_plane.kill();
    answers(&admin, "/readyz", 200, r#""stale":true"#)?;
    let _control = control(&sandbox, SHORT, &["--resources", &resources])?;
    answers(&admin, "/readyz", 200, r#""ready":true,"stale":false"#)?;
    ensure!(gateway.output().matches(JOINED).count() == 1, "{}", gateway.output());
    ensure!(http::get(&listen, "/c", &[])?.status == 200);
    Ok(())
}
