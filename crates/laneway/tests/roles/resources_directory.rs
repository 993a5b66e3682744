//! The resources directory is followed file by file; the store can be copied while it runs.

use std::fs;

use anyhow::Result;
use testkit::Process;

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
fn a_copy_of_the_store_is_a_store() -> Result<()> {
    let sandbox = sandbox()?;
    let directory = sandbox.path("resources");
    fs::create_dir_all(&directory)?;
    // Nobody listens there: the gateway says so.
    fs::write(directory.join("all.yaml"), fixed(&sandbox.endpoint(9, 8080)))?;
    let shown = directory.to_string_lossy().into_owned();
    let mut serve = sandbox.serve(&["--resources", &shown])?;
    answers(&sandbox.gateway_address(), "/c", 502, "")?;
    let (data, copy) = (sandbox.path("serve"), sandbox.path("copy.db"));
    let (data, copy) = (data.to_string_lossy().into_owned(), copy.to_string_lossy().into_owned());
    sandbox.must(&["backup", &copy, "--data", &data])?;
    let again = sandbox.run(&["backup", &copy, "--data", &data])?;
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("exists: name a file that does not"), "{}", again.stderr);
    serve.ask_to_stop();
    serve.wait_for_end(SOON)?;

    fs::remove_dir_all(&data)?;
    fs::create_dir_all(&data)?;
    fs::rename(&copy, sandbox.path("serve").join("laneway.db"))?;
    let _serve = sandbox.serve(&[])?;
    answers(&sandbox.gateway_address(), "/c", 502, "")
}
