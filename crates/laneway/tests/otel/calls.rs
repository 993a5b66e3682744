//! The same of gRPC, in the libraries of three languages: the lane is chosen for each stream of a captured connection.

use testkit::{grpc, needs};

use crate::{
    TURN,
    mesh::{Forwarding, Instance, Language, Mesh, READY_WITHIN},
};

/// Calls the base of the next by its address.
fn instance(place: &grpc::Place) -> Instance {
    let calls = match place.name {
        "A" => Some((12, "")),
        "B" => Some((13, "")),
        _ => None,
    };
    let language = Language::Grpc(place.language);
    Instance { name: place.name, tag: place.tag, host: place.host, language, calls }
}

/// Calls of every kind, and a lane switched off under way.
#[track_caller]
fn check(places: &[grpc::Place; 6]) {
    if !(needs("netns") && grpc::is_there()) {
        return;
    }
    let _turn = TURN.lock();
    let instances = places.each_ref().map(instance);
    let mut mesh = Mesh::start(&instances, Forwarding::OpenTelemetry).unwrap();
    let address = |host| format!("10.77.0.{host}");
    let caller = || mesh.grpc_caller();
    grpc::wait_until_settled(READY_WITHIN, places, address, caller).unwrap();
    assert_eq!(grpc::called(&mut caller()).unwrap(), grpc::expected(places, address));
    let disable = || mesh.must(&["lane", "disable", "trade/gray"]);
    grpc::check_disabling_gray(places, address, caller(), disable).unwrap();
    assert!(mesh.ended().is_empty(), "{:?}", mesh.ended());
}

#[test]
fn captured_calls_stay_in_their_lane_stream_by_stream_from_java_to_go_to_python() {
    check(&grpc::CHAINS[0]);
}

#[test]
fn captured_calls_stay_in_their_lane_stream_by_stream_from_go_to_python_to_java() {
    check(&grpc::CHAINS[1]);
}

#[test]
fn captured_calls_stay_in_their_lane_stream_by_stream_from_python_to_java_to_go() {
    check(&grpc::CHAINS[2]);
}
