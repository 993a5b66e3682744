//! The control plane is killed under load; while it is away a sidecar and the gateways are restarted. No request fails,
//! lanes are held: data planes start from what they kept on disk. Everything is killed at once: the same.

use std::time::Duration;

use testkit::{Instance, RunningInstance, Sandbox, http, sample, wait};

use crate::fleet::{Fleet, Scale};

/// Longest that a data plane may take to stop in order, or to serve again.
const WITHIN: Duration = Duration::from_secs(30);

/// Load that must pass between two events, so that each is seen under load.
const ANSWERS_BETWEEN: usize = 300;

#[test]
fn no_request_fails_when_the_control_plane_is_killed_and_data_planes_restart_without_it() {
    let scale = Scale::of(Scale { time: Duration::ZERO, rate: 1_000 });
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let control = sandbox.discovery_address();
    let fleet = Fleet::start(sandbox, &control, |_, _| ());
    // A second gateway shares the address, as on a host that restarts one at a time.
    let mut second = fleet.sandbox.start_gateway("gateway-2", 2, &control).unwrap();
    wait_ready(&fleet, 2);
    let load = fleet.load(scale.rate);
    let mut seen = 0;
    let mut pass_load = || {
        seen += ANSWERS_BETWEEN;
        wait::until_true(WITHIN, "load to pass", || load.answered() >= seen).unwrap();
        seen = load.answered();
    };
    pass_load();
    fleet.control.lock().kill();
    pass_load();

    // A sidecar stops in order and starts again; the application beside it goes on. Then one of another lane.
    for host in [13, 23] {
        let instance = fleet.running()[&host].instance.clone();
        fleet.timeline().instance_doubtful(&fleet.sandbox.host(host), std::time::Instant::now());
        {
            let mut running = fleet.running();
            let sidecar = &mut running.get_mut(&host).unwrap().sidecar;
            sidecar.ask_to_stop();
            sidecar.wait_for_end(WITHIN).unwrap();
            *sidecar = fleet.sandbox.begin_sidecar(&instance).unwrap();
        }
        wait_ready(&fleet, host);
        pass_load();
    }

    // The gateways, one after the other.
    let mut first = fleet.gateways.lock().remove(0);
    first.ask_to_stop();
    first.wait_for_end(WITHIN).unwrap();
    let _first = fleet.sandbox.start_gateway("gateway", 1, &control).unwrap();
    wait_ready(&fleet, 1);
    pass_load();
    second.ask_to_stop();
    second.wait_for_end(WITHIN).unwrap();
    pass_load();

    // Its return is as quiet as its absence.
    *fleet.control.lock() = fleet.sandbox.control(&[]).unwrap();
    pass_load();
    let verdict = fleet.judge(&load.stop().unwrap());
    eprintln!("{verdict}");
    verdict.assert_right();
    assert_eq!(verdict.lost, 0, "no instance was killed, so nothing may be lost");
    assert!(verdict.lane * 100 >= verdict.answers * 40, "lanes were not held: {verdict}");

    // What was restarted while the control plane was away serves again.
    for (host, header) in [(13, "a: b"), (23, "canary: gray")] {
        let address = format!("[{}]", fleet.sandbox.host(host));
        wait::until(WITHIN, &format!("an answer by way of {address}"), || {
            let answer = http::get(&fleet.sandbox.gateway_address(), "/a", &[header])?;
            if answer.body.contains(&address) { Ok(()) } else { anyhow::bail!("{}", answer.body) }
        })
        .unwrap();
    }
}

#[test]
fn everything_restarts_at_once_and_no_request_leaves_its_lane() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let control_address = sandbox.discovery_address();
    let mut control = sandbox.control(&[]).unwrap();
    sandbox.apply(&sample::chain(&["gray"])).unwrap();
    let mut instances = [(None, 11), (Some("gray"), 21)].map(|(tag, host)| {
        let alone = Instance { calls: None, ..Instance::of_chain("A", tag, host) };
        sandbox.start(&alone).unwrap()
    });
    let mut gateway = sandbox.gateway(&control_address).unwrap();
    let ask = || http::get(&sandbox.gateway_address(), "/a", &["canary: gray"]);
    let gray = format!("[{}]", sandbox.host(21));
    wait::until(WITHIN, "the lane", || match ask()? {
        answer if answer.body.contains(&gray) => Ok(()),
        answer => anyhow::bail!("{}", answer.body),
    })
    .unwrap();
    let on_disk = sandbox.path("gateway").join("snapshot");
    wait::until_true(WITHIN, "a picture on disk that knows the lane's instance", || {
        let picture = std::fs::read(&on_disk).unwrap_or_default();
        let wanted = sandbox.endpoint(21, 15006);
        picture.windows(wanted.len()).any(|bytes| bytes == wanted.as_bytes())
    })
    .unwrap();

    control.kill();
    gateway.kill();
    instances.iter_mut().for_each(|instance| instance.sidecar.kill());
    let _control = sandbox.control(&[]).unwrap();
    let _gateway = sandbox.gateway(&control_address).unwrap();
    // The gateway is there, the instances are not.
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(ask);
        for RunningInstance { instance, sidecar, .. } in &mut instances {
            *sidecar = sandbox.begin_sidecar(instance).unwrap();
        }
        asked.join().unwrap().unwrap()
    });
    assert!(asked.body.contains(&gray), "{} {}", asked.status, asked.body);
    for _ in 0..20 {
        let answer = ask().unwrap();
        assert!(answer.body.contains(&gray), "{} {}", answer.status, answer.body);
    }
}

fn wait_ready(fleet: &Fleet, host: u8) {
    let admin = fleet.sandbox.endpoint(host, 15_020);
    wait::until(WITHIN, &format!("{admin} ready"), || {
        let answer = http::get(&admin, "/readyz", &[])?;
        if answer.status == 200 {
            Ok(())
        } else {
            anyhow::bail!("{} {}", answer.status, answer.body)
        }
    })
    .unwrap();
}
