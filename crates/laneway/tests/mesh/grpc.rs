//! Applications that speak gRPC with each other, in the libraries of three languages, beside explicit sidecars: every kind
//! of call, many at once on one connection, each in its lane; deadlines and cancellation reach the end of the chain.

use std::{process::Command, time::Duration};

use testkit::{Instance, RunningInstance, Sandbox, grpc};

/// Longest until processes that were just started know each other.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

fn begin(sandbox: &Sandbox, place: &grpc::Place) -> RunningInstance {
    let instance = Instance::of_chain(place.name, place.tag, place.host);
    let next = match place.name {
        "A" => "sc-B:80",
        "B" => "sc-C:80",
        _ => "-",
    };
    let proxy = sandbox.endpoint(place.host, 15_001).parse().unwrap();
    let mut command = place.language.command(Command::new, Some(proxy));
    command.args([&place.label(), &sandbox.host(place.host), "8080", next]);
    sandbox.begin_beside(&instance, &mut command).unwrap()
}

/// The chain, ready.
fn start(sandbox: &Sandbox, places: &[grpc::Place]) -> Vec<RunningInstance> {
    let mut running: Vec<_> = places.iter().map(|place| begin(sandbox, place)).collect();
    for instance in &mut running {
        let address = format!("{}:8080", instance.address);
        grpc::wait_until_listening(address.parse().unwrap()).unwrap();
        instance.ready().unwrap();
    }
    running
}

/// Calls of every kind, and a lane switched off under way.
#[track_caller]
fn check(places: &[grpc::Place]) {
    if !grpc::is_there() {
        return;
    }
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_laneway")).unwrap();
    let _serve = sandbox.serve(&[]).unwrap();
    sandbox.apply(&grpc::resources()).unwrap();
    let _running = start(&sandbox, places);
    let address = |host| sandbox.host(host);
    let caller = || grpc::caller(Command::new, &sandbox.gateway_address());
    grpc::wait_until_settled(SETTLED_WITHIN, places, address, caller).unwrap();
    assert_eq!(grpc::called(&mut caller()).unwrap(), grpc::expected(places, address));
    let disable = || sandbox.must(&["lane", "disable", "trade/gray"]).map(drop);
    grpc::check_disabling_gray(places, address, caller(), disable).unwrap();
}

#[test]
fn calls_stay_in_their_lane_stream_by_stream_from_java_to_go_to_python() {
    check(&grpc::CHAINS[0]);
}

#[test]
fn calls_stay_in_their_lane_stream_by_stream_from_go_to_python_to_java() {
    check(&grpc::CHAINS[1]);
}

#[test]
fn calls_stay_in_their_lane_stream_by_stream_from_python_to_java_to_go() {
    check(&grpc::CHAINS[2]);
}
