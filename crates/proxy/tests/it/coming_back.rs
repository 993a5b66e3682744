//! Everything restarts at once: whom a proxy knows from before is waited for a moment, and no longer.

use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use lanes::group::Fallback;

use crate::world::{
    Instance, Proxy, Wire, World, gateway_entrance, get, group, nobody, status, within,
};

const GRAY: &str = "GET / HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\n\r\n";

/// A gateway that was there before, and two instances of a lane that falls back to base.
async fn restarted(gray: [SocketAddr; 2]) -> Proxy {
    let base = Instance::new().await.serve("base");
    let mut world = World::new(&[]);
    world.services[0].2 = gray.map(|it| (it, Some("gray"))).into();
    world.services[0].2.push((base, None));
    world.groups = vec![group(gateway_entrance(), &["a"], Fallback::Then(Vec::new()))];
    world.comes_back = true;
    Proxy::gateway(&world)
}

fn listen(address: SocketAddr) -> Instance {
    Instance::from_std(TcpListener::bind(address).unwrap())
}

async fn is_kept_waiting(client: &mut Wire) {
    let answered = tokio::time::timeout(Duration::from_millis(100), client.head()).await;
    assert!(answered.is_err(), "answered: {answered:?}");
}

async fn answered_by(client: &mut Wire) -> String {
    client.answer().await.1.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_lanes_requests_wait_for_its_instance_that_is_starting_too() {
    let (gray, other) = (nobody().await, nobody().await);
    let proxy = restarted([gray, other]).await;
    let mut client = proxy.client().await;
    client.send(GRAY).await;
    is_kept_waiting(&mut client).await;
    let mut meanwhile = proxy.client().await;
    meanwhile.send(&get("/")).await;
    assert_eq!(answered_by(&mut meanwhile).await, "base", "others wait for nobody");
    // Whichever it waits for: the other is put aside like anyone else.
    let instances = [listen(gray), listen(other)];
    let mut server = within("a connection to either", async {
        tokio::select! {
            server = instances[0].accept() => server,
            server = instances[1].accept() => server,
        }
    })
    .await;
    assert!(server.head().await.contains("lane.trade=gray"));
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(status(&client.head().await), 200);
    // It came back, and leaves again: now there is nobody.
    drop((server, instances));
    is_answered_at_once(&mut client).await;
}

#[tokio::test]
async fn a_lane_whose_instances_do_not_come_back_is_left_for_the_base() {
    let proxy = restarted([nobody().await, nobody().await]).await;
    let mut client = proxy.client().await;
    client.send(GRAY).await;
    assert_eq!(answered_by(&mut client).await, "base", "after a while");
    is_answered_at_once(&mut client).await;
}

async fn is_answered_at_once(client: &mut Wire) {
    let begun = Instant::now();
    client.send(GRAY).await;
    assert_eq!(answered_by(client).await, "base");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_sidecars_own_application_is_waited_for_too() {
    let address = nobody().await;
    let mut world = World::new(&[address]);
    world.comes_back = true;
    let proxy = Proxy::sidecar(&world, None, address);
    let mut client = Wire::connect(proxy.inbound()).await;
    client.send(&get("/")).await;
    is_kept_waiting(&mut client).await;
    listen(address).serve("the application");
    assert_eq!(answered_by(&mut client).await, "the application");
}
