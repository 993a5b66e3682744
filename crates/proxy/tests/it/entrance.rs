//! The case file of the entrance, sent through a real gateway and a real sidecar.

use lanes::group::EntranceSpec;
use testkit::entrance_cases::{self, Application, Case};

use crate::world::{Instance, Proxy, Wire, World, gateway_entrance};

#[tokio::test]
async fn every_case_holds_at_gateways_and_sidecars() {
    for case in entrance_cases::all() {
        check(&case).await;
    }
}

async fn check(case: &Case) {
    let instance = Instance::new().await.serve("A");
    let mut world = World::new(&[instance]);
    let (proxy, address) = match case.at.application {
        None => {
            world.listeners[0].trusted = case.at.trusted;
            world.listeners[0].trusted_hops = case.at.trusted_hops;
            world.groups = case.groups(&gateway_entrance());
            let proxy = Proxy::gateway(&world);
            let address = proxy.address();
            (proxy, address)
        }
        Some(at) => {
            let edge = at == Application::Edge;
            world.groups = case.groups(&EntranceSpec::Application { name: "a".to_owned(), edge });
            let proxy = Proxy::sidecar(&world, None, instance);
            let address = proxy.inbound();
            (proxy, address)
        }
    };
    let fields: String =
        case.request_fields().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut client = Wire::connect(address).await;
    client.send(&format!("GET /a HTTP/1.1\r\n{fields}\r\n")).await;
    let (head, body) = client.answer().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{}: {head}{body}", case.name);
    let asked = body.split_once('\n').unwrap().1;
    let fields = asked.lines().skip(1).filter_map(|line| line.split_once(": "));
    case.check_sent(fields.map(|(name, value)| (name, value.trim())));
    drop(proxy);
}
