//! The resources directory is followed file by file; how it looks for a moment deletes nothing.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Result;
use testkit::{Process, Sandbox, wait};

use crate::{SOON, answers, fixed, sandbox, says};

/// A second route to the same backend.
const ROUTE_D: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: d}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /d}}]
    backendRefs: [{group: laneway.io, kind: Backend, name: sc-c}]
";

#[test]
fn files_are_followed_and_a_bad_one_takes_no_good_one_down() -> Result<()> {
    let sandbox = sandbox()?;
    let program = testkit::application::program()?;
    let mut command = std::process::Command::new(program);
    command.args(["C", &sandbox.endpoint(3, 8080)]);
    let _application = Process::start("C", &mut command, sandbox.directory())?;
    let directory = sandbox.path("resources");
    fs::create_dir_all(&directory)?;
    let (base, more) = (directory.join("base.yaml"), directory.join("more.yaml"));
    fs::write(&base, fixed(&sandbox.endpoint(3, 8080)))?;
    // Refused as a whole would be, but only this file is.
    fs::write(&more, ROUTE_D.replace("PathPrefix", "PathPrefiks"))?;
    let shown = directory.to_string_lossy().into_owned();
    let serve = sandbox.serve(&["--resources", &shown])?;
    let gateway = sandbox.gateway_address();
    answers(&gateway, "/c", 200, "C[")?;
    answers(&gateway, "/d", 404, "")?;
    says(&serve, &format!("{}:8: ", more.display()))?;
    says(&serve, "PathPrefiks")?;

    // Mended.
    fs::write(&more, ROUTE_D)?;
    answers(&gateway, "/d", 200, "C[")?;
    // Spoilt as YAML: what it said last stays.
    fs::write(&more, "kind: [")?;
    says(&serve, "stay as they were")?;
    answers(&gateway, "/d", 200, "C[")?;
    // What leaves the directory is deleted, also what a bad file said last.
    fs::remove_file(&more)?;
    answers(&gateway, "/d", 404, "")?;
    answers(&gateway, "/c", 200, "C[")
}

#[test]
fn an_operators_change_is_not_undone_by_another_file_nor_by_a_restart() -> Result<()> {
    let sandbox = sandbox()?;
    let directory = sandbox.path("resources");
    fs::create_dir_all(&directory)?;
    let lane = |enabled: &str| {
        format!(
            "apiVersion: laneway.io/v1alpha1
kind: LaneGroup
metadata: {{name: trade}}
spec: {{entrances: [{{gateway: edge}}], applications: [a]}}
---
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {{name: trade-gray}}
spec: {{group: trade, tag: gray{enabled}, entry: {{ratio: {{percent: 5, stickyBy: {{cookie: uid}}}}}}}}
"
        )
    };
    fs::write(directory.join("lane.yaml"), lane(", enabled: true"))?;
    let shown = directory.to_string_lossy().into_owned();
    let serve = sandbox.serve(&["--resources", &shown])?;
    sandbox.must(&["lane", "disable", "trade/gray"])?;
    sandbox.must(&["lane", "ratio", "trade/gray", "50"])?;
    let stays = || -> Result<()> {
        let seen = sandbox.must(&["get", "lane", "trade/gray", "-o", "yaml"])?;
        anyhow::ensure!(seen.contains("enabled: false") && seen.contains("percent: 50"), "{seen}");
        Ok(())
    };
    // Another file, broken and then whole.
    fs::write(directory.join("more.yaml"), "kind: [")?;
    says(&serve, "stay as they were")?;
    stays()?;
    fs::write(directory.join("more.yaml"), fixed(&sandbox.endpoint(3, 8080)))?;
    answers(&sandbox.api_address(), "/api/v1alpha1/servicesources", 200, "fixed")?;
    stays()?;
    drop(serve);
    let serve = sandbox.serve(&["--resources", &shown])?;
    stays()?;
    // What its own file says anew counts, as far as it goes.
    fs::write(directory.join("lane.yaml"), lane(", enabled: true, priority: 7"))?;
    says(&serve, "the file counts")?;
    wait::until(SOON, "the lane is on again", || {
        let seen = sandbox.must(&["get", "lane", "trade/gray", "-o", "yaml"])?;
        anyhow::ensure!(seen.contains("priority: 7") && !seen.contains("enabled: false"), "{seen}");
        Ok(())
    })
}

/// A control plane on `path`, whose file says that there is a route.
fn following(sandbox: &Sandbox, path: &Path) -> Result<Process> {
    let shown = path.to_string_lossy().into_owned();
    let serve = sandbox.serve(&["--resources", &shown])?;
    // Nobody listens there: the gateway says so, as long as there is the route.
    there(sandbox)?;
    Ok(serve)
}

fn there(sandbox: &Sandbox) -> Result<()> {
    answers(&sandbox.gateway_address(), "/c", 502, "")
}

/// Whether the route is there at the very moment.
fn is_there_still(sandbox: &Sandbox) -> Result<()> {
    let answer = testkit::http::get(&sandbox.gateway_address(), "/c", &[])?;
    anyhow::ensure!(answer.status == 502, "{} {}", answer.status, answer.body);
    Ok(())
}

/// A directory with one file of resources.
fn directory(sandbox: &Sandbox, name: &str) -> Result<PathBuf> {
    let directory = sandbox.path(name);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("all.yaml"), fixed(&sandbox.endpoint(9, 8080)))?;
    Ok(directory)
}

#[test]
fn a_file_that_is_being_written_counts_when_it_is_closed() -> Result<()> {
    let sandbox = sandbox()?;
    let directory = directory(&sandbox, "resources")?;
    let path = directory.join("all.yaml");
    let text = fixed(&sandbox.endpoint(9, 8080));
    let serve = following(&sandbox, &directory)?;
    let api = sandbox.api_address();

    // The shell of `fetch > all.yaml` empties it first; then it is whole objects, but not all.
    let mut file = File::create(&path)?;
    answers(&api, "/metrics", 200, "laneway_resource_files_kept 1")?;
    is_there_still(&sandbox)?;
    let half = text.rfind("---").unwrap_or_default();
    file.write_all(&text.as_bytes()[..half])?;
    says(&serve, "somebody is writing it")?;
    answers(&api, "/api/v1alpha1/status", 200, "its objects stay as they were")?;
    is_there_still(&sandbox)?;
    file.write_all(&text.as_bytes()[half..])?;
    file.write_all(ROUTE_D.replacen('\n', "\n---\n", 1).as_bytes())?;
    drop(file);
    answers(&sandbox.gateway_address(), "/d", 502, "")?;
    answers(&api, "/metrics", 200, "laneway_resource_files_kept 0")?;

    // Closed and empty: nobody says that its objects are not wanted any more.
    fs::write(&path, "# nothing\n")?;
    says(&serve, "it is empty: delete it")?;
    is_there_still(&sandbox)?;
    fs::remove_file(&path)?;
    answers(&sandbox.gateway_address(), "/c", 404, "")
}

#[test]
fn the_path_is_followed_whatever_directory_it_leads_to() -> Result<()> {
    let sandbox = sandbox()?;
    let (one, other) = (directory(&sandbox, "one")?, directory(&sandbox, "other")?);
    fs::write(other.join("more.yaml"), ROUTE_D)?;
    let path = sandbox.path("resources");
    symlink(&one, &path)?;
    let serve = following(&sandbox, &path)?;
    let gateway = sandbox.gateway_address();

    // Another link in its place, as a release is switched.
    symlink(&other, sandbox.path("next"))?;
    fs::rename(sandbox.path("next"), &path)?;
    answers(&gateway, "/d", 502, "")?;
    // What it leads to now is watched.
    fs::remove_file(other.join("more.yaml"))?;
    answers(&gateway, "/d", 404, "")?;
    is_there_still(&sandbox)?;

    // Away, then empty as a place where nothing is mounted, then a directory of its own.
    fs::remove_file(&path)?;
    says(&serve, "the resources directory is not there")?;
    fs::create_dir(&path)?;
    says(&serve, "the directory is another one, and empty")?;
    is_there_still(&sandbox)?;
    fs::write(path.join("more.yaml"), ROUTE_D)?;
    fs::copy(one.join("all.yaml"), path.join("all.yaml"))?;
    answers(&gateway, "/d", 502, "")?;
    is_there_still(&sandbox)
}

#[test]
fn a_volume_of_kubernetes_is_followed() -> Result<()> {
    let sandbox = sandbox()?;
    let volume = sandbox.path("resources");
    fs::create_dir_all(&volume)?;
    directory(&sandbox, "resources/..1")?;
    symlink("..1", volume.join("..data"))?;
    symlink("..data/all.yaml", volume.join("all.yaml"))?;
    let _serve = following(&sandbox, &volume)?;
    let next = directory(&sandbox, "resources/..2")?;
    let more = ROUTE_D.replacen('\n', "\n---\n", 1);
    fs::write(next.join("all.yaml"), fixed(&sandbox.endpoint(9, 8080)) + &more)?;
    symlink("..2", volume.join("..data_tmp"))?;
    fs::rename(volume.join("..data_tmp"), volume.join("..data"))?;
    answers(&sandbox.gateway_address(), "/d", 502, "")?;
    is_there_still(&sandbox)
}
