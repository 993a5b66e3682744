//! The case file of the entrance, sent through a real gateway and both sides of a real sidecar.

use std::net::SocketAddr;

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
    let asked = asked(case, address, "/a").await;
    case.check_sent(fields(&asked));
    drop(proxy);
}

#[tokio::test]
async fn every_case_holds_where_an_application_calls_others() {
    let instance = Instance::new().await.serve("B");
    let mut world = World::new(&[]);
    let names = ["shop", "shop.example"];
    world.services = names.map(|name| (name, "b", vec![(instance, None)])).into();
    let proxy = Proxy::sidecar(&world, None, instance);
    // Calls to addresses go to these addresses: nobody is there.
    for case in entrance_cases::all().iter().filter(|case| !case.host.starts_with('[')) {
        let asked = asked(case, proxy.address(), &format!("http://{}/a", case.host)).await;
        case.check_outbound(fields(&asked));
    }
}

/// The head that an instance gets of a request.
async fn asked(case: &Case, by: SocketAddr, target: &str) -> String {
    let fields: String =
        case.request_fields().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut client = Wire::connect(by).await;
    client.send(&format!("GET {target} HTTP/1.1\r\n{fields}\r\n")).await;
    let (head, body) = client.answer().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{}: {head}{body}", case.name);
    body.split_once('\n').unwrap().1.to_owned()
}

/// Names and values of a head.
fn fields(head: &str) -> impl Iterator<Item = (&str, &str)> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name, value.trim()))
}
