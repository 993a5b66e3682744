//! Instances that take requests and do not answer: put aside, tried again one request at a time, given up where they are
//! lost, and never a reason to leave a lane that has another instance; where it has none, its fallback serves.

use std::{net::SocketAddr, time::Duration};

use lanes::{
    EMBEDDED_SOURCE, LaneSpec, Tag,
    group::Fallback,
    service::{Health, Port, Protocol},
};
use proxy::limits::Timeouts;
use telemetry::Count;

use crate::world::{
    Instance, Proxy, Wire, World, eventually, gateway_entrance, get, group, nobody, status, within,
};

const GRAY: &str = "GET / HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\n\r\n";
const GRAY_POST: &str =
    "POST / HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\nContent-Length: 4\r\n\r\nbody";

/// Instances with their tags, and a lane that falls back to base.
fn world(instances: Vec<(SocketAddr, Option<&'static str>)>) -> World {
    let mut world = World::new(&[]);
    world.source = EMBEDDED_SOURCE;
    world.services[0].2 = instances;
    world.groups = vec![group(gateway_entrance(), &["a"], Fallback::Then(Vec::new()))];
    world
}

/// A gateway before them; an answer may take a tenth of a second.
fn gateway(instances: Vec<(SocketAddr, Option<&'static str>)>) -> Proxy {
    let timeouts = Timeouts { backend: Duration::from_millis(100), ..Timeouts::default() };
    Proxy::gateway_with(&world(instances), 1, timeouts)
}

/// The status of an answer, and who gave it.
async fn ask(proxy: &Proxy, request: &str) -> (u16, String) {
    let mut client = proxy.client().await;
    client.send(request).await;
    let (head, body) = client.answer().await;
    (status(&head), body.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_instance_that_never_answers_is_put_aside_and_tried_by_one_request_at_a_time() {
    let (gray, base) = (Instance::new().await, Instance::new().await.serve("base"));
    let proxy = gateway(vec![(gray.address, Some("gray")), (base, None)]);
    for _ in 0..3 {
        assert_eq!(ask(&proxy, GRAY).await.0, 504);
    }
    assert_eq!(ask(&proxy, GRAY).await, (200, "base".to_owned()), "the lane's fallback");
    assert_eq!(proxy.running.unreachable(), [gray.address]);
    proxy.counted(Count::Ejected, 1).await;
    // Whoever tries it again waits in vain; meanwhile the others do not.
    let mut tries = Vec::new();
    eventually("one that tries it again", async || {
        let mut client = proxy.client().await;
        client.send(GRAY).await;
        tries.push(client);
        tokio::time::timeout(Duration::from_millis(50), tries.last_mut().unwrap().head())
            .await
            .is_err()
    })
    .await;
    for _ in 0..10 {
        assert_eq!(ask(&proxy, GRAY).await.1, "base");
    }
    assert_eq!(status(&tries.pop().unwrap().head().await), 504);
    // One failure of that kind is enough; one answer makes it as good as new.
    assert_eq!(ask(&proxy, GRAY).await.1, "base");
    let gray_address = gray.serve("gray");
    eventually("the lane's own instance to answer", async || ask(&proxy, GRAY).await.1 == "gray")
        .await;
    assert_eq!(ask(&proxy, GRAY).await.1, "gray", "{gray_address}");
    assert!(proxy.running.unreachable().is_empty());
}

#[tokio::test]
async fn an_instance_that_breaks_off_in_a_row_is_put_aside() {
    let (gray, base) = (Instance::new().await, Instance::new().await.serve("base"));
    let proxy = gateway(vec![(gray.address, Some("gray")), (base, None)]);
    let breaking = async {
        for _ in 0..3 {
            let mut wire = gray.accept().await;
            wire.head().await;
            wire.abort();
        }
    };
    let asking = async {
        for _ in 0..3 {
            assert_eq!(ask(&proxy, GRAY_POST).await.0, 502, "what may have had an effect stays");
        }
        assert_eq!(ask(&proxy, GRAY_POST).await, (200, "base".to_owned()));
    };
    tokio::join!(breaking, asking);
}

#[tokio::test]
async fn callers_that_give_up_waiting_count_and_callers_that_change_their_mind_do_not() {
    let (gray, base) = (Instance::new().await, Instance::new().await.serve("base"));
    let proxy = Proxy::gateway(&world(vec![(gray.address, Some("gray")), (base, None)]));
    let mut left = 0;
    for (patience, is_put_aside) in [(Duration::ZERO, false), (Duration::from_millis(2100), true)] {
        let (mut waiting, mut asked): (Vec<Wire>, Vec<Wire>) = Default::default();
        for _ in 0..3 {
            let (client, server) = proxy.under_way(&gray, GRAY).await;
            waiting.push(client);
            asked.push(server);
        }
        let answered = tokio::time::timeout(patience, waiting[0].head()).await;
        assert!(answered.is_err(), "an answer");
        waiting.into_iter().for_each(Wire::abort);
        left += 3;
        eventually("their leaving to be seen", async || {
            let rows = proxy.running.counters().requests();
            rows.iter().map(|row| row.durations.count()).sum::<u64>() == left
        })
        .await;
        assert_eq!(proxy.running.unreachable().contains(&gray.address), is_put_aside);
    }
    assert_eq!(ask(&proxy, GRAY).await.1, "base");
}

#[tokio::test]
async fn a_lane_with_another_instance_is_never_left() {
    let (hung, other) = (Instance::new().await, Instance::new().await.serve("gray"));
    let base = Instance::new().await.serve("base");
    let dead = nobody().await;
    let proxy = gateway(vec![
        (hung.address, Some("gray")),
        (dead, Some("gray")),
        (other, Some("gray")),
        (base, None),
    ]);
    within("the hung one to be put aside", async {
        while !proxy.running.unreachable().contains(&hung.address) {
            let (status, name) = ask(&proxy, GRAY).await;
            assert!(status == 504 || name == "gray", "{status} by {name}");
        }
    })
    .await;
    for _ in 0..20 {
        assert_eq!(ask(&proxy, GRAY).await.1, "gray");
        assert_eq!(ask(&proxy, &get("/")).await.1, "base");
    }
}

/// What the picture says of an instance from now on; `None`: nothing.
fn tell(proxy: &Proxy, world: &World, address: SocketAddr, health: Option<Health>) {
    let mut world = world.clone();
    match health {
        Some(health) => {
            world.health.insert(address, health);
        }
        None => {
            for (_, _, instances) in &mut world.services {
                instances.retain(|(known, _)| *known != address);
            }
        }
    }
    proxy.publish.send(world.publish()).unwrap();
}

/// Two instances of the lane, and one that has the request: both its ends and whoever does not have it.
async fn waiting<'i>(
    proxy: &Proxy,
    lane: &'i [Instance; 2],
    request: &str,
) -> (Wire, Wire, SocketAddr, &'i Instance) {
    let mut client = proxy.client().await;
    client.send(request).await;
    let [one, two] = lane;
    let (mut server, it, other) = tokio::select! {
        server = one.accept() => (server, one, two),
        server = two.accept() => (server, two, one),
    };
    server.head().await;
    (client, server, it.address, other)
}

async fn lane() -> ([Instance; 2], World) {
    let lane = [Instance::new().await, Instance::new().await];
    let base = Instance::new().await.serve("base");
    let [one, two] = [&lane[0], &lane[1]].map(|it| (it.address, Some("gray")));
    (lane, world(vec![one, two, (base, None)]))
}

const EMPTY: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn whoever_waits_for_an_instance_that_is_lost_waits_no_longer() {
    let words = |health| match health {
        None => "the instance was lost before it answered\n",
        Some(_) => "the instance became unhealthy before it answered\n",
    };
    for health in [Some(Health::Unhealthy), None] {
        let (lane, world) = lane().await;
        let proxy = Proxy::gateway(&world);
        let (mut client, _hung, address, other) = waiting(&proxy, &lane, GRAY).await;
        tell(&proxy, &world, address, health);
        let mut server = other.accept().await;
        assert!(server.head().await.contains("lane.trade=gray"), "again, in its lane");
        server.send(EMPTY).await;
        assert_eq!(status(&client.head().await), 200);
        proxy.counted(Count::RetriedLost, 1).await;

        // What may have had an effect is not repeated; nor is there anybody else for what may be.
        proxy.publish.send(world.publish()).unwrap();
        let (mut client, _hung, address, _) = waiting(&proxy, &lane, GRAY_POST).await;
        tell(&proxy, &world, address, health);
        let (head, body) = client.answer().await;
        assert_eq!((status(&head), body.as_str()), (503, words(health)));
        proxy.counted(Count::Freed, 2).await;
    }
}

#[tokio::test]
async fn whoever_waits_in_a_lane_where_nobody_is_left_goes_as_one_that_comes_now() {
    let blue = || Tag::parse("blue").unwrap().unwrap();
    for told in [Some(Health::Unhealthy), None] {
        for (fallback, request, expected) in [
            (Fallback::Then(Vec::new()), GRAY, Ok("base")),
            (Fallback::Then(vec![blue()]), GRAY, Ok("blue")),
            (Fallback::Strict, GRAY, Err(503)),
            (Fallback::Then(Vec::new()), GRAY_POST, Err(503)),
        ] {
            let gray = Instance::new().await;
            let base = Instance::new().await.serve("base");
            let other = Instance::new().await.serve("blue");
            let mut world =
                world(vec![(gray.address, Some("gray")), (other, Some("blue")), (base, None)]);
            let lanes = &mut world.groups[0].lanes;
            lanes.push(LaneSpec { tag: blue(), priority: 1, ..lanes[0].clone() });
            lanes[0].fallback = fallback.clone();
            let proxy = Proxy::gateway(&world);
            let (mut client, _hung) = proxy.under_way(&gray, request).await;
            tell(&proxy, &world, gray.address, told);
            let (head, body) = client.answer().await;
            let answered = match status(&head) {
                200 => Ok(body.lines().next().unwrap_or_default()),
                status => Err(status),
            };
            assert_eq!(answered, expected, "{told:?} {fallback:?} {request}{body}");
        }
    }
}

#[tokio::test]
async fn whoever_has_an_only_instance_put_aside_goes_as_one_that_comes_now() {
    let (gray, base) = (Instance::new().await, Instance::new().await.serve("base"));
    let proxy = Proxy::gateway(&world(vec![(gray.address, Some("gray")), (base, None)]));
    // As long as it may be called it is the lane's, and is asked once more.
    let (mut client, server) = proxy.under_way(&gray, GRAY).await;
    server.abort();
    let mut again = gray.accept().await;
    again.head().await;
    again.abort();
    assert_eq!(status(&client.head().await), 502);
    let (mut client, server) = proxy.under_way(&gray, GRAY).await;
    server.abort();
    assert!(client.answer().await.1.starts_with("base\n"), "the third in a row");
}

#[tokio::test]
async fn whoever_waits_for_an_only_instance_that_dies_goes_as_one_that_comes_now() {
    for (request, expected) in [(GRAY, (200, "base")), (GRAY_POST, (502, ""))] {
        let (gray, base) = (Instance::new().await, Instance::new().await.serve("base"));
        let proxy = Proxy::gateway(&world(vec![(gray.address, Some("gray")), (base, None)]));
        let (mut client, server) = proxy.under_way(&gray, request).await;
        // It listens no more before its connections break.
        drop(gray);
        server.abort();
        let (head, body) = client.answer().await;
        assert_eq!(status(&head), expected.0, "{request}{body}");
        assert!(body.starts_with(expected.1), "{request}{body}");
    }
}

#[tokio::test]
async fn a_base_that_is_put_aside_is_better_than_an_instance_that_cannot_be_reached() {
    let (gray, base) = (nobody().await, Instance::new().await);
    let proxy = Proxy::gateway(&world(vec![(gray, Some("gray")), (base.address, None)]));
    for _ in 0..3 {
        let post = "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody";
        let (mut client, server) = proxy.under_way(&base, post).await;
        server.abort();
        assert_eq!(status(&client.head().await), 502);
    }
    assert_eq!(proxy.running.unreachable(), [base.address]);
    base.serve("base");
    assert_eq!(ask(&proxy, GRAY).await, (200, "base".to_owned()));
}

#[tokio::test]
async fn whoever_has_gone_on_by_the_latest_picture_stays_with_it() {
    // Whom of two the first try goes to is chance: a few times the dead one is met.
    for _ in 0..6 {
        let (one, dead) = (Instance::new().await, nobody().await);
        let (new, base) =
            (Instance::new().await.serve("gray"), Instance::new().await.serve("base"));
        let mut world = world(vec![(one.address, Some("gray")), (base, None)]);
        let proxy = Proxy::gateway(&world);
        let (mut client, _hung) = proxy.under_way(&one, GRAY).await;
        world.services[0].2 = vec![(dead, Some("gray")), (new, Some("gray")), (base, None)];
        proxy.publish.send(world.publish()).unwrap();
        let (_, body) = client.answer().await;
        assert!(body.starts_with("gray\n"), "it has left its lane: {body}");
    }
}

#[tokio::test]
async fn a_body_that_an_instance_stopped_to_read_waits_no_longer() {
    let (lane, world) = lane().await;
    let proxy = Proxy::gateway(&world);
    let request = "PUT / HTTP/1.1\r\nHost: shop\r\ncanary: gray\r\nContent-Length: 90\r\n\r\nhalf";
    let (mut client, _hung, address, _) = waiting(&proxy, &lane, request).await;
    tell(&proxy, &world, address, None);
    assert_eq!(status(&client.head().await), 503);
}

#[tokio::test]
async fn an_instance_that_takes_its_leave_or_has_begun_to_answer_is_waited_for() {
    let (lane, world) = lane().await;
    let proxy = Proxy::gateway(&world);
    let (mut client, mut server, address, _) = waiting(&proxy, &lane, GRAY_POST).await;
    let (mut answered, mut answers) = (proxy.client().await, [&lane[0], &lane[1]]);
    answers.sort_by_key(|instance| instance.address != address);
    tell(&proxy, &world, address, Some(Health::Draining));
    // Another is chosen: the picture is there. It begins to answer, and is lost.
    answered.send(GRAY).await;
    let mut begins = answers[1].accept().await;
    begins.head().await;
    begins.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n").await;
    assert_eq!(status(&answered.head().await), 200);
    // The picture of all whose instances have gone, as far as requests can see that it is there.
    let mut neither = world.clone();
    neither.services[0].2.retain(|(_, tag)| tag.is_none());
    proxy.publish.send(neither.publish()).unwrap();
    assert_eq!(ask(&proxy, GRAY).await.1, "base");
    begins.send("rest").await;
    answered.text("rest").await;
    server.send(EMPTY).await;
    assert_eq!(status(&client.head().await), 200);
}

#[tokio::test]
async fn whoever_waits_for_an_instance_that_is_heard_by_nobody_waits_seconds() {
    let (frozen, base) = (Instance::new().await, Instance::new().await.serve("base"));
    let mut world = world(vec![(frozen.address, Some("gray")), (base, None)]);
    // It has a further port: at its address are two services.
    world.services.push(("admin-a", "a", vec![(frozen.address, Some("gray"))]));
    world.ports.insert("admin-a", Port { protocol: Protocol::Http, is_further: true });
    let proxy = Proxy::gateway(&world);
    let (mut client, server) = proxy.under_way(&frozen, GRAY).await;
    let (mut client_of_post, server_of_post) = proxy.under_way(&frozen, GRAY_POST).await;
    // And one is kept to it on which nobody waits.
    let (mut client_of_idle, mut idle) = proxy.under_way(&frozen, GRAY).await;
    idle.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(status(&client_of_idle.head().await), 200);
    // Its source says so first: then it is asked for its answer.
    tell(&proxy, &world, frozen.address, Some(Health::Silent));
    let (head, body) = client_of_post.answer().await;
    let expected = (503, "the instance fell silent before it answered\n");
    assert_eq!((status(&head), body.as_str()), expected);
    let (_, body) = client.answer().await;
    assert!(body.starts_with("base\n"), "nobody is left in the lane: {body}");
    for request in [GRAY, GRAY_POST] {
        assert_eq!(ask(&proxy, request).await, (200, "base".to_owned()), "nobody tries it");
    }
    assert_eq!(proxy.running.unreachable(), [frozen.address]);
    proxy.counted(Count::Ejected, 1).await;
    // Its source hears it again.
    drop((server, server_of_post, idle));
    tell(&proxy, &world, frozen.address, None);
    tell(&proxy, &world, frozen.address, Some(Health::Usable));
    eventually("nothing to be held against it", async || proxy.running.unreachable().is_empty())
        .await;
    let (mut client, mut server) = proxy.under_way(&frozen, GRAY).await;
    server.send(EMPTY).await;
    assert_eq!(status(&client.head().await), 200);

    // One that answers is called, whatever its source hears.
    tell(&proxy, &world, frozen.address, Some(Health::Silent));
    frozen.serve("gray");
    for request in [GRAY, GRAY_POST] {
        assert_eq!(ask(&proxy, request).await.1, "gray");
    }
}
