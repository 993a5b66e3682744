//! Single requests that somebody watches: what is told of them, how many, and that nothing is where nobody watches.

use std::time::Duration;

use lanes::{EMBEDDED_SOURCE, group::Fallback};
use proxy::{Tap, TapCount, Tapped, Watched};
use telemetry::{Count, Outcome, Role};
use tokio::sync::mpsc::{self, Receiver};

use crate::world::{
    Instance, Proxy, Wire, World, eventually, gateway_entrance, group, nobody, status, within,
};

/// Requests that wait to be told in these tests.
const WAITING: usize = 32;

/// `sc-A` with a base and a gray instance, as members of the group.
async fn world() -> World {
    let mut world = World::new(&[]);
    let (base, gray) = (Instance::new().await.serve("base"), Instance::new().await.serve("gray"));
    world.services = vec![("sc-A", "a", vec![(base, None), (gray, Some("gray"))])];
    world.groups = vec![group(gateway_entrance(), &["a"], Fallback::Then(Vec::new()))];
    world
}

fn watched(lane: &str, share: u32) -> Watched {
    Watched { group: "trade".to_owned(), lane: lane.to_owned(), share }
}

/// From now on these are watched.
fn watch(proxy: &Proxy, watched: &[Watched], per_second_max: u32) -> (Tap, Receiver<Tapped>) {
    let (tell, told) = mpsc::channel(WAITING);
    let tap = proxy.running.tap();
    tap.watch(watched.to_vec(), per_second_max, tell);
    (tap, told)
}

async fn ask(proxy: &Proxy, path: &str, fields: &str) -> u16 {
    let mut client = proxy.client().await;
    client.send(&format!("GET {path} HTTP/1.1\r\nHost: shop\r\n{fields}\r\n")).await;
    status(&client.answer().await.0)
}

async fn next(told: &mut Receiver<Tapped>) -> Tapped {
    within("a request that is watched", told.recv()).await.unwrap()
}

#[tokio::test]
async fn a_request_of_a_watched_lane_is_told_when_it_ends() {
    let proxy = Proxy::gateway(&world().await);
    let (tap, mut told) = watch(&proxy, &[watched("gray", u32::MAX)], 50);
    assert_eq!(ask(&proxy, "/a", "").await, 200);
    let secret = "canary: gray\r\nauthorization: Bearer hunter2\r\ncookie: s=hunter2\r\n";
    assert_eq!(ask(&proxy, "/a/eyJhbGciOiJIUzI1NiJ9.hunter2?user=hunter2&b", secret).await, 200);
    let tapped = next(&mut told).await;
    assert_eq!((tapped.role, tapped.outcome, tapped.status), (Role::Gateway, Outcome::Lane, 200));
    assert_eq!((tapped.method.as_str(), tapped.host.as_str()), ("GET", "shop"));
    assert_eq!(tapped.path, "/a/***?user=***&b");
    assert_eq!((tapped.application.as_str(), tapped.tag.as_str()), ("a", "gray"));
    assert!(tapped.instance.is_some() && !tapped.route.is_empty() && tapped.reason.is_empty());
    assert_eq!(tapped.lanes, [("trade".to_owned(), "gray".to_owned())]);
    assert!(tapped.duration > Duration::ZERO && tapped.duration < Duration::from_secs(10));
    assert!(!format!("{tapped:?}").contains("hunter2"), "{tapped:?}");
    // Of an entrance's two ids the second is the first with a UUID's version.
    let [trace, request] = tapped.ids.as_slice() else { panic!("{:?}", tapped.ids) };
    let request = request.replace('-', "");
    assert_eq!((trace.len(), &trace[..12], &trace[17..]), (32, &request[..12], &request[17..]));
    assert!(told.try_recv().is_err(), "base is not watched");
    let count =
        TapCount { group: "trade".to_owned(), lane: "gray".to_owned(), matched: 1, dropped: 0 };
    assert_eq!((tap.take_counts(), tap.take_counts()[0].matched), (vec![count], 0));
}

#[tokio::test]
async fn nothing_is_made_where_nobody_watches() {
    let proxy = Proxy::gateway(&world().await);
    let (tap, mut told) = watch(&proxy, &[watched("gray", u32::MAX)], 50);
    assert_eq!(ask(&proxy, "/a", "canary: gray\r\n").await, 200);
    next(&mut told).await;
    tap.watch(Vec::new(), 0, mpsc::channel(1).0);
    assert_eq!(ask(&proxy, "/a", "canary: gray\r\n").await, 200);
    let counters = proxy.running.counters();
    eventually("both requests to be counted", async || {
        counters.requests().iter().map(|row| row.durations.count()).sum::<u64>() == 2
    })
    .await;
    assert!(told.try_recv().is_err());
    assert_eq!(counters.counted(Count::TapTold), 1);
    assert_eq!(tap.take_counts(), []);
}

#[tokio::test]
async fn who_comes_later_is_told_nothing_of_what_began_before() {
    let gray = Instance::new().await;
    let mut world = world().await;
    world.services = vec![("sc-A", "a", vec![(gray.address, Some("gray"))])];
    let proxy = Proxy::gateway(&world);
    let (tap, mut before) = watch(&proxy, &[watched("gray", u32::MAX)], 50);
    let (mut client, mut server) =
        proxy.under_way(&gray, "GET /long HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\n\r\n").await;
    tap.watch(Vec::new(), 0, mpsc::channel(1).0);
    let (_, mut after) = watch(&proxy, &[watched("gray", u32::MAX)], 50);
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    assert_eq!(status(&client.head().await), 200);
    assert_eq!(next(&mut before).await.path, "/long", "it is told where it began");
    gray.serve("gray");
    assert_eq!(ask(&proxy, "/short", "canary: gray\r\n").await, 200);
    assert_eq!(next(&mut after).await.path, "/short");
}

#[tokio::test]
async fn an_instance_that_came_while_the_request_was_under_way_is_told_with_its_tag() {
    let (one, new) = (Instance::new().await, Instance::new().await.serve("gray"));
    let mut world = world().await;
    world.source = EMBEDDED_SOURCE;
    world.services = vec![("sc-A", "a", vec![(one.address, Some("gray"))])];
    let proxy = Proxy::gateway(&world);
    let (_, mut told) = watch(&proxy, &[watched("gray", u32::MAX)], 50);
    let (mut client, _hung) =
        proxy.under_way(&one, "GET / HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\n\r\n").await;
    world.services[0].2 = vec![(new, Some("gray"))];
    proxy.publish.send(world.publish()).unwrap();
    assert!(client.answer().await.1.starts_with("gray\n"));
    let tapped = next(&mut told).await;
    assert_eq!((tapped.instance, tapped.tag.as_str()), (Some(new), "gray"));
}

#[tokio::test]
async fn base_is_watched_as_the_group_s_applications_serve_it() {
    let mut world = world().await;
    world.groups = vec![group(gateway_entrance(), &["other"], Fallback::Then(Vec::new()))];
    let proxy = Proxy::gateway(&world);
    let (_, mut told) = watch(&proxy, &[watched("", u32::MAX)], 50);
    assert_eq!(ask(&proxy, "/a", "").await, 200);
    world.groups = vec![group(gateway_entrance(), &["a"], Fallback::Then(Vec::new()))];
    let proxy = Proxy::gateway(&world);
    let (_, mut of_member) = watch(&proxy, &[watched("", u32::MAX)], 50);
    assert_eq!(ask(&proxy, "/a", "canary: gray\r\n").await, 200);
    assert_eq!(ask(&proxy, "/a", "").await, 200);
    let tapped = next(&mut of_member).await;
    assert_eq!((tapped.outcome, tapped.tag.as_str(), tapped.lanes.len()), (Outcome::Base, "", 0));
    assert!(told.try_recv().is_err() && of_member.try_recv().is_err());
}

#[tokio::test]
async fn why_nobody_served_is_told() {
    let mut world = world().await;
    world.services = vec![("sc-A", "a", vec![(nobody().await, Some("gray"))])];
    world.groups = vec![group(gateway_entrance(), &["a"], Fallback::Strict)];
    let proxy = Proxy::gateway(&world);
    let (_, mut told) = watch(&proxy, &[watched("gray", u32::MAX), watched("", u32::MAX)], 50);
    assert_eq!(ask(&proxy, "/a", "canary: gray\r\n").await, 502);
    let tapped = next(&mut told).await;
    assert_eq!((tapped.outcome, tapped.status), (Outcome::Failed, 502));
    assert!(tapped.reason.contains("connect"), "{}", tapped.reason);
    assert_eq!(ask(&proxy, "/a", "").await, 503);
    let tapped = next(&mut told).await;
    assert_eq!((tapped.outcome, tapped.status, tapped.instance), (Outcome::Failed, 503, None));
    assert!(tapped.reason.contains("no usable base instance of sc-A"), "{}", tapped.reason);
}

#[tokio::test]
async fn what_waits_for_a_name_is_told_once_whether_it_becomes_known_or_not() {
    let mut world = world().await;
    let late = world.services.pop().unwrap();
    world.complete = false;
    let mut proxy = Proxy::sidecar(&world, None, nobody().await);
    let (tap, mut told) = watch(&proxy, &[watched("gray", u32::MAX)], 50);
    let fields = "baggage: lane.trade=gray\r\nx-request-id: r-1\r\n";
    let mut client = proxy.client().await;
    client.send(&format!("GET http://sc-a/late HTTP/1.1\r\nHost: sc-a\r\n{fields}\r\n")).await;
    within("a question", proxy.asked.recv()).await.unwrap();
    world.services.push(late);
    proxy.publish.send_replace(world.publish());
    assert_eq!(status(&client.answer().await.0), 200);
    let tapped = next(&mut told).await;
    assert_eq!(
        (tapped.path.as_str(), tapped.application.as_str(), tapped.status),
        ("/late", "a", 200)
    );

    client.send(&format!("GET http://sc-x/never HTTP/1.1\r\nHost: sc-x\r\n{fields}\r\n")).await;
    assert_eq!(status(&client.answer().await.0), 503);
    let tapped = next(&mut told).await;
    assert_eq!(
        (tapped.path.as_str(), tapped.outcome, tapped.status),
        ("/never", Outcome::Failed, 503)
    );
    assert!(tapped.reason.contains("nothing is known about sc-x"), "{}", tapped.reason);
    assert_eq!((tap.take_counts()[0].matched, told.try_recv().is_err()), (2, true));
}

#[tokio::test]
async fn both_sides_of_a_sidecar_tell_of_what_passes_them() {
    let mut world = world().await;
    let application = Instance::new().await.serve("application");
    world.services.push(("sc-B", "b", vec![(Instance::new().await.serve("b"), None)]));
    world.groups = vec![group(gateway_entrance(), &["a", "b"], Fallback::Then(Vec::new()))];
    let proxy = Proxy::sidecar(&world, Some("gray"), application);
    let (_, mut told) = watch(&proxy, &[watched("gray", u32::MAX)], 50);
    let ids = "baggage: lane.trade=gray\r\nx-request-id: r-1\r\n";
    let mut client = Wire::connect(proxy.inbound()).await;
    client.send(&format!("GET /in HTTP/1.1\r\nHost: sc-A\r\n{ids}\r\n")).await;
    assert_eq!(status(&client.answer().await.0), 200);
    let inbound = next(&mut told).await;
    assert_eq!((inbound.role, inbound.outcome), (Role::SidecarInbound, Outcome::Lane));
    assert_eq!((inbound.ids.as_slice(), inbound.path.as_str()), (&["r-1".to_owned()][..], "/in"));
    // The application forwards the id alone: its lane is restored, and told.
    let mut client = proxy.client().await;
    client.send("GET http://sc-B/out HTTP/1.1\r\nHost: sc-B\r\nx-request-id: r-1\r\n\r\n").await;
    assert_eq!(status(&client.answer().await.0), 200);
    let outbound = next(&mut told).await;
    assert_eq!((outbound.role, outbound.outcome), (Role::SidecarOutbound, Outcome::Fallback));
    assert_eq!((outbound.application.as_str(), outbound.tag.as_str()), ("b", ""));
    assert_eq!((outbound.ids, outbound.lanes), (inbound.ids, inbound.lanes));
}

#[tokio::test]
async fn what_is_told_is_bounded_and_the_rest_counted() {
    let proxy = Proxy::gateway(&world().await);
    // None may be told in a second: it does not matter how long this takes.
    let (tap, mut told) = watch(&proxy, &[watched("gray", u32::MAX)], 0);
    for _ in 0..3 {
        assert_eq!(ask(&proxy, "/a", "canary: gray\r\n").await, 200);
    }
    let counts = tap.take_counts();
    assert_eq!((counts[0].matched, counts[0].dropped), (3, 3));
    assert!(told.try_recv().is_err());
    proxy.counted(Count::TapDropped, 3).await;
    // One that is not read holds nothing up, and what has no room is counted.
    let (tap, _told) = watch(&proxy, &[watched("gray", u32::MAX)], u32::MAX);
    for _ in 0..WAITING + 5 {
        assert_eq!(ask(&proxy, "/a", "canary: gray\r\n").await, 200);
    }
    let mut dropped = 0;
    eventually("what had no room to be counted", async || {
        dropped += tap.take_counts()[0].dropped;
        dropped == 5
    })
    .await;
}

#[tokio::test]
async fn a_share_of_requests_is_the_same_by_each_of_their_ids() {
    // A sidecar adds no id to a call: it goes on with the one that the application has forwarded.
    let proxy = Proxy::sidecar(&world().await, None, nobody().await);
    let (_, mut told) = watch(&proxy, &[watched("gray", u32::MAX / 2)], u32::MAX);
    let mut shown = [Vec::new(), Vec::new()];
    for (form, shown) in shown.iter_mut().enumerate() {
        for number in 0..24_u128 {
            let digits = format!("{:032x}", (number + 1) * 0x0123_4567_89ab_cdef_1357_9bdf_0246);
            let field = match form {
                0 => format!("traceparent: 00-{digits}-b7ad6b7169203331-01"),
                // As an entrance makes it of the same number.
                _ => format!(
                    "x-request-id: {}-{}-4{}-8{}-{}",
                    &digits[..8],
                    &digits[8..12],
                    &digits[13..16],
                    &digits[17..20],
                    &digits[20..]
                ),
            };
            let fields = format!("Host: sc-A\r\nbaggage: lane.trade=gray\r\n{field}");
            let mut client = proxy.client().await;
            client.send(&format!("GET http://sc-A/{number} HTTP/1.1\r\n{fields}\r\n\r\n")).await;
            assert_eq!(status(&client.answer().await.0), 200);
        }
        // Each is told before its thread serves the next; the last may still be under way.
        let mut client = proxy.client().await;
        client.send("GET http://sc-A/ HTTP/1.1\r\nHost: sc-A\r\n\r\n").await;
        assert_eq!(status(&client.answer().await.0), 200);
        shown.extend(std::iter::from_fn(|| told.try_recv().ok()).map(|tapped| tapped.path));
    }
    assert!((4..=20).contains(&shown[0].len()), "{shown:?}");
    assert_eq!(shown[0], shown[1]);
}
