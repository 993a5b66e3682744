//! The guide's way there and back: a store is copied while in use, and put back, however the control plane ended.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
};

use anyhow::Result;
use rustix::process::geteuid;
use testkit::{Process, Sandbox, http};

use crate::{SOON, answers, fixed, sandbox};

const GROUPS: &str = "/api/v1alpha1/lanegroups";

fn group(name: &str) -> String {
    format!(
        "---\napiVersion: laneway.io/v1alpha1\nkind: LaneGroup\nmetadata: {{name: {name}}}\nspec: {{applications: [a]}}\n"
    )
}

/// How a control plane ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Stopped,
    Killed,
}

fn end(mut process: Process, how: End) -> Result<()> {
    match how {
        End::Stopped => {
            process.ask_to_stop();
            process.wait_for_end(SOON)?;
        }
        End::Killed => process.kill(),
    }
    Ok(())
}

/// The groups that a control plane has, started for this alone.
fn groups(sandbox: &Sandbox, how: End) -> Result<Vec<String>> {
    let control = sandbox.control(&[])?;
    let list: serde_json::Value =
        serde_json::from_str(&http::get(&sandbox.api_address(), GROUPS, &[])?.body)?;
    let items = list["items"].as_array().into_iter().flatten();
    let mut names: Vec<String> =
        items.filter_map(|item| item["metadata"]["name"].as_str()).map(str::to_owned).collect();
    names.sort();
    end(control, how)?;
    Ok(names)
}

fn kept(said: &str) -> &Path {
    let line = said.lines().find_map(|line| line.strip_prefix("what was there before is "));
    Path::new(line.expect("it says where it kept the store"))
}

#[test]
fn a_backup_is_what_comes_back_however_the_control_plane_ended() -> Result<()> {
    for (round, how) in
        [End::Stopped, End::Killed, End::Stopped, End::Killed].into_iter().enumerate()
    {
        let sandbox = sandbox()?;
        let copy = sandbox.path("copy.db").to_string_lossy().into_owned();
        let control = sandbox.control(&[])?;
        for number in 0..20 {
            sandbox.apply(&group(&format!("before-{number}")))?;
        }
        // Neither is told where the store is: the control plane was.
        sandbox.must(&["backup", &copy])?;
        sandbox.apply(&group("after"))?;
        sandbox.must(&["delete", "LaneGroup", "before-0"])?;
        end(control, how)?;

        let said = sandbox.must(&["restore", &copy])?;
        assert!(said.contains("20 objects"), "{said}");
        let restored = groups(&sandbox, how)?;
        assert_eq!(restored.len(), 20, "round {round}, {how:?}: {restored:?}");
        assert!(!restored.contains(&"after".to_owned()), "{restored:?}");
        // And back: what was there was kept, with everything that had been acknowledged.
        let undone = kept(&said).to_string_lossy().into_owned();
        sandbox.must(&["restore", &undone])?;
        let before = groups(&sandbox, how)?;
        assert!(before.contains(&"after".to_owned()), "round {round}, {how:?}: {before:?}");
        assert!(!before.contains(&"before-0".to_owned()), "{before:?}");
    }
    Ok(())
}

/// Nobody's in particular: a user as systemd gives them to services.
const SERVICE: u32 = 61_184;

#[test]
fn what_root_restores_belongs_to_the_user_of_the_directory() -> Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let sandbox = sandbox()?;
    let copy = sandbox.path("copy.db").to_string_lossy().into_owned();
    let control = sandbox.control(&[])?;
    sandbox.apply(&group("trade"))?;
    sandbox.must(&["backup", &copy])?;
    end(control, End::Stopped)?;
    // On top of a store, and where there is nothing yet.
    let (data, new) = (sandbox.path("control"), sandbox.path("new"));
    fs::create_dir(&new)?;
    let files =
        |data: &Path| -> Result<Vec<_>> { Ok(fs::read_dir(data)?.collect::<Result<_, _>>()?) };
    for data in [&data, &new] {
        for file in files(data)? {
            chown(file.path(), Some(SERVICE), Some(SERVICE))?;
        }
        chown(data, Some(SERVICE), Some(SERVICE))?;
        sandbox.must(&["restore", &copy, "--data", &data.to_string_lossy()])?;
        assert!(data.join("laneway.db").exists() && data.join("lock").exists());
        for file in files(data)? {
            let owner = file.metadata()?;
            assert_eq!((owner.uid(), owner.gid()), (SERVICE, SERVICE), "{file:?}");
        }
    }
    assert!(data.join("laneway.db.before-restore-1").exists());
    Ok(())
}

#[test]
fn what_cannot_be_restored_makes_no_directory() -> Result<()> {
    let sandbox = sandbox()?;
    let (junk, data) = (sandbox.path("junk"), sandbox.path("new"));
    let [junk_path, data_path, absent] =
        [&junk, &data, &sandbox.path("absent")].map(|path| path.to_string_lossy().into_owned());
    fs::write(&junk, "junk")?;
    for (file, words) in [(&junk_path, "file is not a database"), (&absent, "does not exist: name")]
    {
        let refused = sandbox.run(&["restore", file, "--data", &data_path])?;
        assert!(refused.code == Some(1) && refused.stderr.contains(words), "{refused:?}");
        assert!(!data.exists(), "{file}");
    }
    let refused = sandbox.run(&["backup", &absent, "--data", &data_path])?;
    let words =
        format!("{data_path}/laneway.db does not exist: name a backup, or the data directory");
    assert!(refused.code == Some(1) && refused.stderr.contains(&words), "{refused:?}");
    assert!(!data.exists());
    Ok(())
}

#[test]
fn what_cannot_be_restored_changes_nothing() -> Result<()> {
    let sandbox = sandbox()?;
    let copy = sandbox.path("copy.db").to_string_lossy().into_owned();
    let control = sandbox.control(&[])?;
    sandbox.apply(&group("trade"))?;
    sandbox.must(&["backup", &copy])?;
    let running = sandbox.run(&["restore", &copy])?;
    assert_eq!(running.code, Some(1));
    assert!(running.stderr.contains("is in use by process"), "{}", running.stderr);
    end(control, End::Stopped)?;
    let data = sandbox.path("control");
    assert!(!data.join("laneway.db-wal").exists(), "a stopped control plane leaves one file");

    let whole = fs::read(&copy)?;
    let mut torn = whole.clone();
    let page = 4096;
    torn[page..].fill(0x5a);
    for (name, content, words) in [
        ("empty", &[][..], "holds no store"),
        ("text", &b"apiVersion: laneway.io/v1alpha1\n"[..], "file is not a database"),
        ("short", &whole[..page], ""),
        ("torn", &torn[..], ""),
    ] {
        let file = sandbox.path(name);
        fs::write(&file, content)?;
        let refused = sandbox.run(&["restore", &file.to_string_lossy()])?;
        assert_eq!(refused.code, Some(1), "{name}: {}", refused.stdout);
        assert!(refused.stderr.contains(words), "{name}: {}", refused.stderr);
    }
    let missing = sandbox.run(&["restore", "/nowhere/copy.db"])?;
    assert_eq!(missing.code, Some(1));
    let left: Vec<_> =
        fs::read_dir(&data)?.filter_map(Result::ok).map(|it| it.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("before-restore")), "{left:?}");
    assert_eq!(groups(&sandbox, End::Stopped)?, ["trade"]);
    Ok(())
}

#[test]
fn a_copy_of_the_store_is_a_store() -> Result<()> {
    let sandbox = sandbox()?;
    let directory = sandbox.path("resources");
    fs::create_dir_all(&directory)?;
    // Nobody listens there: the gateway says so.
    fs::write(directory.join("all.yaml"), fixed(&sandbox.endpoint(9, 8080)))?;
    let shown = directory.to_string_lossy().into_owned();
    let serve = sandbox.serve(&["--resources", &shown])?;
    answers(&sandbox.gateway_address(), "/c", 502, "")?;
    let (data, copy) = (sandbox.path("serve"), sandbox.path("copy.db"));
    let (data, copy) = (data.to_string_lossy().into_owned(), copy.to_string_lossy().into_owned());
    sandbox.must(&["backup", &copy, "--data", &data])?;
    let again = sandbox.run(&["backup", &copy, "--data", &data])?;
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("exists: name a file that does not"), "{}", again.stderr);
    end(serve, End::Stopped)?;

    // Another machine: there is no data directory yet.
    fs::remove_dir_all(&data)?;
    sandbox.must(&["restore", &copy, "--data", &data])?;
    let _serve = sandbox.serve(&[])?;
    answers(&sandbox.gateway_address(), "/c", 502, "")
}
