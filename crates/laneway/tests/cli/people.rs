//! Users of the API, from the one-time password of the first start to a change that is undone.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use testkit::{CommandResult, Sandbox, http, needs, wait};

use crate::{SOON, sandbox};

const PASSWORD: &str = "correct horse battery";

/// Runs a command that reads these lines, and has another user's home and no data directory of a control plane.
fn as_somebody(sandbox: &Sandbox, words: &[&str], lines: &[&str]) -> Result<CommandResult> {
    let mut command: Command = sandbox.laneway(words);
    command.env("XDG_CONFIG_HOME", sandbox.path("somebody"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // One that wants to know nothing reads nothing.
    let _ = child.stdin.take().context("no standard input")?.write_all(input.as_bytes());
    let output = child.wait_with_output()?;
    Ok(CommandResult {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn does(sandbox: &Sandbox, words: &[&str], lines: &[&str]) -> Result<String> {
    let result = as_somebody(sandbox, words, lines)?;
    ensure!(result.code == Some(0), "{words:?}: {}", result.stderr);
    Ok(result.stdout)
}

fn is_refused(sandbox: &Sandbox, words: &[&str], lines: &[&str], why: &str) -> Result<()> {
    let result = as_somebody(sandbox, words, lines)?;
    ensure!(result.code == Some(1) && result.stderr.contains(why), "{words:?}: {}", result.stderr);
    Ok(())
}

/// The password that an answer tells.
fn told(answer: &str) -> Result<String> {
    let (_, rest) = answer.split_once("one-time password ").context("no password is told")?;
    Ok(rest.split_whitespace().next().unwrap_or_default().to_owned())
}

const RESOURCES: &str = r#"
apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {name: trade}
spec: {entrances: [{gateway: edge}], applications: [spring-cloud-a]}
---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {name: trade-gray}
spec: {group: trade, tag: gray, entry: {ratio: {percent: 5, stickyBy: {cookie: uid}}}}
"#;

#[test]
fn somebody_signs_in_does_what_his_role_allows_and_it_is_told_and_undone() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    sandbox.apply(RESOURCES)?;
    ensure!(sandbox.must(&["whoami"])?.contains("admin everywhere"), "the machine's own user");
    let password = told(&sandbox.must(&["user", "create", "alice", "--role", "viewer"])?)?;

    is_refused(&sandbox, &["login", "--user", "alice"], &["guessed"], "user or password is wrong")?;
    is_refused(
        &sandbox,
        &["login", "--user", "alice"],
        &[&password, "short"],
        "12 to 256 characters",
    )?;
    let signed_in = does(&sandbox, &["login", "--user", "alice"], &[&password, PASSWORD])?;
    ensure!(signed_in.contains("viewer everywhere"), "{signed_in}");
    let kept = sandbox.path("somebody").join("laneway/logins.json");
    ensure!(fs::metadata(&kept)?.permissions().mode() & 0o777 == 0o600);
    is_refused(&sandbox, &["login", "--user", "alice"], &[&password], "user or password is wrong")?;

    ensure!(does(&sandbox, &["whoami"], &[])?.contains("of alice: viewer everywhere"));
    does(&sandbox, &["get", "lanes"], &[])?;
    let disable = ["lane", "disable", "trade/gray", "--note", "5xx of C"];
    is_refused(&sandbox, &disable, &[], "it takes operator in namespace default")?;
    is_refused(&sandbox, &["user", "list"], &[], "it takes admin everywhere")?;
    sandbox.must(&["user", "grant", "alice", "--role", "operator@default"])?;
    does(&sandbox, &disable, &[])?;

    let audit = does(&sandbox, &["audit"], &[])?;
    let line = audit.lines().nth(1).unwrap_or_default();
    for words in ["of alice", "changed Lane trade-gray", "spec.enabled: true -> false", "5xx of C"]
    {
        ensure!(line.contains(words), "{words} in {audit}");
    }
    let number = line.split_whitespace().next().unwrap_or_default();
    let undone = does(&sandbox, &["undo", number], &[])?;
    ensure!(undone.contains("spec.enabled: false -> true"), "{undone}");
    is_refused(&sandbox, &["undo", number], &[], "as before already")?;

    let token = does(&sandbox, &["api-token", "create", "ci", "--role", "viewer@default"], &[])?;
    let file = sandbox.path("ci.token");
    fs::write(&file, &token)?;
    let shown = ["--token-file", &file.to_string_lossy()];
    // Whoever shows a token is who it says, though the machine knows him for more.
    let who = sandbox.must(&[&["whoami"], &shown[..]].concat())?;
    ensure!(who.contains("ci of alice: viewer in default"), "{who}");
    let listed = does(&sandbox, &["api-token", "list"], &[])?;
    ensure!(listed.contains("login on ") && !listed.contains(token.trim()), "{listed}");

    ensure!(does(&sandbox, &["logout"], &[])?.contains("signed out"));
    ensure!(!fs::read_to_string(&kept)?.contains("laneway_api_"));
    let deleted = sandbox.run(&["user", "delete", "alice"])?;
    ensure!(deleted.code == Some(0) && deleted.stderr.is_empty(), "{deleted:?}");
    let last = sandbox.run(&["user", "delete", "admin"])?;
    ensure!(
        last.code == Some(0) && last.stderr.contains("no user is admin everywhere"),
        "{last:?}"
    );
    let gone = sandbox.run(&[&["whoami"], &shown[..]].concat())?;
    ensure!(gone.stderr.contains("is unknown, was revoked or has expired"), "{}", gone.stderr);
    Ok(())
}

#[test]
fn the_first_user_has_the_password_of_the_file_or_one_that_is_told_once() -> Result<()> {
    let sandbox = sandbox()?;
    let file = sandbox.path("password");
    let name = file.to_string_lossy().into_owned();
    fs::write(&file, "short\n")?;
    let data = sandbox.path("short").to_string_lossy().into_owned();
    let api = format!("{}:0", sandbox.host(1));
    let start = ["control", "--data", &data, "--api-listen", &api, "--discovery-listen", &api];
    let refused = sandbox.run(&[&start[..], &["--admin-password-file", &name]].concat())?;
    ensure!(refused.stderr.contains("choose 12 to 256 characters"), "{}", refused.stderr);
    fs::write(&file, format!("{PASSWORD}\n"))?;
    let control = sandbox.control(&["--admin-password-file", &name])?;
    let signed_in = does(&sandbox, &["login", "--user", "admin"], &[PASSWORD])?;
    ensure!(signed_in.contains("admin everywhere"), "{signed_in}");
    // What is not the API's takes who may do everything.
    let viewer = does(&sandbox, &["api-token", "create", "v", "--role", "viewer"], &[])?;
    let shown = format!("authorization: Bearer {}", viewer.trim());
    let address = sandbox.api_address();
    ensure!(http::get(&address, "/api/v1alpha1/lanes", &[&shown])?.status == 200);
    ensure!(http::get(&address, "/log-level", &[&shown])?.status == 403);
    drop(control);
    let _again = sandbox.control(&[])?;
    does(&sandbox, &["whoami"], &[])?;
    Ok(())
}

/// A user who is not the one that runs the tests; becoming it takes root.
const ANOTHER_USER: u32 = 54_321;

/// A process of another user that answers where the control plane did; ended when it is let go.
struct Thief {
    process: std::process::Child,
    _directory: tempfile::TempDir,
}

impl Drop for Thief {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Thief {
    fn listen(address: &str) -> Result<Self> {
        // A copy that everybody may run: the build may be where nobody else looks.
        let directory = tempfile::tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let program = directory.path().join("laneway");
        fs::copy(env!("CARGO_BIN_EXE_laneway"), &program)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let mut command = Command::new(&program);
        command.args(["sample-application", "--name", "A", "--listen", address]);
        command.env_clear().current_dir("/").uid(ANOTHER_USER).gid(ANOTHER_USER);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let thief = Self { process, _directory: directory };
        wait::until_true(SOON, "it answers", || http::get(address, "/a", &[]).is_ok())?;
        Ok(thief)
    }
}

#[test]
fn a_login_is_shown_to_no_process_of_another_user_that_takes_the_port() -> Result<()> {
    // Worlds with network namespaces are root's, and so is becoming somebody else.
    if !needs("netns") {
        return Ok(());
    }
    let sandbox = sandbox()?;
    let file = sandbox.path("password");
    fs::write(&file, format!("{PASSWORD}\n"))?;
    let mut control = sandbox.control(&["--admin-password-file", &file.to_string_lossy()])?;
    let signed_in = does(&sandbox, &["login", "--user", "admin"], &[PASSWORD])?;
    ensure!(signed_in.contains(", a process of user 0 "), "{signed_in}");
    let kept = fs::read_to_string(sandbox.path("somebody").join("laneway/logins.json"))?;
    control.ask_to_stop();
    control.wait_for_end(SOON)?;

    let address = sandbox.api_address();
    let thief = Thief::listen(&address)?;
    let why = format!("a process of user {ANOTHER_USER} answers there");
    for (words, lines) in
        [(&["get", "lanes"][..], &[][..]), (&["login", "--user", "admin"], &[PASSWORD])]
    {
        is_refused(&sandbox, words, lines, "nothing was sent to")?;
        is_refused(&sandbox, words, lines, &why)?;
    }
    // Whoever signs out there forgets the token, which is not sent either.
    is_refused(&sandbox, &["logout"], &[], "the token is forgotten here")?;
    is_refused(&sandbox, &["logout"], &[], "not signed in")?;
    drop(thief);

    // The true one is trusted as before.
    fs::write(sandbox.path("somebody").join("laneway/logins.json"), kept)?;
    let _control = sandbox.control(&[])?;
    ensure!(does(&sandbox, &["whoami"], &[])?.contains("admin everywhere"));
    Ok(())
}

#[test]
fn a_restored_backup_lets_nobody_in_who_was_shut_out_since() -> Result<()> {
    let sandbox = sandbox()?;
    let file = sandbox.path("password");
    fs::write(&file, format!("{PASSWORD}\n"))?;
    let mut control = sandbox.control(&["--admin-password-file", &file.to_string_lossy()])?;
    does(&sandbox, &["login", "--user", "admin"], &[PASSWORD])?;
    let token = does(&sandbox, &["api-token", "create", "ci", "--role", "viewer"], &[])?;
    let token_file = sandbox.path("ci.token").to_string_lossy().into_owned();
    fs::write(&token_file, &token)?;
    let copy = sandbox.path("copy.db").to_string_lossy().into_owned();
    sandbox.must(&["backup", &copy])?;
    for (options, ended, is_kept) in [
        (&[][..], "2 sessions and tokens of the API have ended", false),
        (&["--keep-api-tokens"], "1 sessions and tokens of the API have ended", true),
    ] {
        control.ask_to_stop();
        control.wait_for_end(SOON)?;
        let restored = sandbox.run(&[&["restore", &copy], options].concat())?;
        ensure!(restored.code == Some(0) && restored.stdout.contains(ended), "{restored:?}");
        let warned = restored.stderr.contains("revoke again what was revoked since");
        ensure!(warned == is_kept, "{restored:?}");
        control = sandbox.control(&[])?;
        is_refused(&sandbox, &["whoami"], &[], "is unknown, was revoked or has expired")?;
        let shown = sandbox.run(&["whoami", "--token-file", &token_file])?;
        ensure!((shown.code == Some(0)) == is_kept, "{shown:?}");
    }
    Ok(())
}
