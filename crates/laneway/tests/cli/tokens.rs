//! Tokens of applications, from `laneway token create` to a process that shows one.

use std::{fs, os::unix::fs::PermissionsExt};

use anyhow::{Result, ensure};
use testkit::{Process, http, wait};

use crate::{SOON, sandbox};

#[test]
fn a_token_of_an_application_is_made_shown_once_and_revoked() -> Result<()> {
    let sandbox = sandbox()?;
    let join = sandbox.path("join-token");
    fs::write(&join, "one secret of many letters\n")?;
    let _control = sandbox.control(&["--join-token-file", &join.to_string_lossy()])?;
    let file = sandbox.path("app-a.token");
    let name = file.to_string_lossy().into_owned();
    let create = ["token", "create", "--application", "app-a", "--tag", "gray"];
    let told = sandbox.must(&[&create[..], &["--out", &name]].concat())?;
    ensure!(told.contains("of application app-a is in"), "{told}");
    ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600);
    let token = fs::read_to_string(&file)?;
    ensure!(!told.contains(token.trim()), "{told}");
    let refused = |words: &[&str], why: &str| {
        let result = sandbox.run(words)?;
        ensure!(result.code == Some(1) && result.stderr.contains(why), "{}", result.stderr);
        Ok(())
    };
    refused(&[&create[..], &["--out", &name]].concat(), "name a new file")?;
    refused(&["token", "create", "--application", "a/b"], "application: `a/b`")?;

    let id = token.split('_').nth(1).unwrap_or_default();
    let list = sandbox.must(&["token", "list"])?;
    ensure!(list.contains(id) && list.contains("app-a") && list.contains("never"), "{list}");
    ensure!(!list.contains(token.trim()) && list.lines().count() == 2, "{list}");

    // A gateway needs the one of the mesh.
    let admin = format!("{}:15020", sandbox.host(4));
    let any = format!("{}:0", sandbox.host(4));
    let mut command = sandbox.laneway(&["gateway", "--control", &sandbox.discovery_address()]);
    command.args(["--gateway-listen", &any, "--admin-listen", &admin]);
    command.args(["--join-token-file", &name, "--data"]).arg(sandbox.path("gateway"));
    let _gateway = Process::start("gateway", &mut command, sandbox.directory())?;
    let says = |words: &str| {
        wait::until(SOON, words, || {
            let answer = http::get(&admin, "/readyz", &[])?;
            ensure!(answer.status == 503 && answer.body.contains(words), "{}", answer.body);
            Ok(())
        })
    };
    says("show the join token of the mesh")?;
    let status = sandbox.must(&["status"])?;
    ensure!(status.contains("show the join token of the mesh"), "{status}");

    ensure!(sandbox.must(&["token", "revoke", id])? == format!("token {id} is revoked\n"));
    says("is unknown or was revoked")?;
    refused(&["token", "revoke", id], "there is no token")
}
