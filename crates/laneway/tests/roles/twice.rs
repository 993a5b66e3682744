//! Two of everything: what may be there twice works twice, and the second of what may not is refused aloud.

use anyhow::Result;
use testkit::{Instance, Process, http, sample};

use crate::{SOON, answers, sandbox, says};

#[test]
fn what_may_be_there_twice_works_twice_and_the_rest_is_refused() -> Result<()> {
    let sandbox = sandbox()?;
    let discovery = sandbox.discovery_address();
    let _control = sandbox.control(&[])?;
    sandbox.apply(&sample::routed("c", "embedded"))?;
    let mut gateway = sandbox.gateway(&discovery)?;
    let _first = sandbox.start(&Instance::of_chain("C", None, 3))?;
    let _second = sandbox.start(&Instance::of_chain("C", None, 4))?;

    // A second gateway of the same name, elsewhere: either serves both instances, also when the other has died.
    let second = [2, 5].map(|host| sandbox.endpoint(host, 15_020));
    let elsewhere = sandbox.endpoint(5, 8000);
    let started = |name: &str, arguments: &[&str], data: &str| -> Result<Process> {
        let mut command = sandbox.laneway(arguments);
        command.arg("--data").arg(sandbox.path(data));
        Process::start(name, &mut command, sandbox.directory())
    };
    let arguments = ["gateway", "--control", &discovery, "--gateway-listen", &elsewhere];
    let arguments = [&arguments[..], &["--admin-listen", &second[0]]].concat();
    let _gateway_2 = started("gateway-2", &arguments, "gateway-2")?;
    for entrance in [&sandbox.gateway_address(), &elsewhere] {
        for host in [3, 4] {
            answers(entrance, "/c", 200, &format!("C[{}]", sandbox.host(host)))?;
        }
    }
    gateway.kill();
    for _ in 0..20 {
        assert_eq!(http::get(&elsewhere, "/c", &[])?.status, 200);
    }

    // Each at addresses of its own, and with the data of another.
    let free = |port| sandbox.endpoint(6, port);
    let (api, listening, admin) = (free(7600), free(7601), free(15_020));
    let control = ["control", "--api-listen", &api, "--discovery-listen", &listening];
    let (inside, inbound, outbound) = (free(8080), free(15_006), free(15_001));
    let sidecar =
        ["sidecar", "--application", "app-c", "--service", "sc-C", "--app-address", &inside];
    let sidecar = [&sidecar[..], &["--control", &discovery, "--advertise", &inbound]].concat();
    let listening = ["--inbound-listen", &inbound, "--outbound-listen", &outbound];
    let sidecar = [&sidecar[..], &listening, &["--admin-listen", &admin]].concat();
    let gateway = ["gateway", "--control", &discovery, "--gateway-listen", &inside];
    let gateway = [&gateway[..], &["--admin-listen", &second[1]]].concat();
    for (name, arguments, data) in [
        ("control-2", &control[..], "control"),
        ("sidecar-2", &sidecar, "sidecar-3"),
        ("gateway-3", &gateway, "gateway-2"),
    ] {
        let mut process = started(name, arguments, data)?;
        assert_eq!(process.wait_for_end(SOON)?.code(), Some(1), "{}", process.output());
        says(&process, "is in use by process")?;
    }
    answers(&elsewhere, "/c", 200, "C[")
}
