//! The resources directory is followed file by file; the store can be copied while it runs.

use std::fs;

use anyhow::Result;
use testkit::Process;

use crate::{answers, fixed, sandbox, says};

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
