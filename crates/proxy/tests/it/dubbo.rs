//! Dubbo's own protocol through a sidecar that captures: one connection, and each request on it in its lane.

use std::net::SocketAddr;

use lanes::{Tag, group::Fallback, service::Protocol};
use telemetry::{Count, Outcome, Role};

use crate::{
    transparent::{call_from, captured, captured_with, listen, on_two_hosts},
    world::{
        Instance, PATIENCE, Proxy, Wire, World, eventually, gateway_entrance, group, own_port,
        within,
    },
};

const GRAY: &str = "lane.trade=gray";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const OK: u8 = 20;
const BAD_REQUEST: u8 = 40;
const SERVICE_ERROR: u8 = 70;
const SERVER_ERROR: u8 = 80;

/// What a frame is about: flags, status, id, body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    flags: u8,
    status: u8,
    id: u64,
    body: Vec<u8>,
}

const REQUEST: u8 = 0xc2;
const ONE_WAY_EVENT: u8 = 0xa2;
const HEARTBEAT: u8 = 0xe2;
const ANSWER: u8 = 0x02;

impl Frame {
    fn new(flags: u8, status: u8, id: u64, body: &[u8]) -> Self {
        Self { flags, status, id, body: body.to_vec() }
    }

    /// A request with one argument, and these attachments.
    fn request(id: u64, attachments: &[(&str, &str)]) -> Self {
        let mut body = Vec::new();
        let texts = ["2.0.2", "x.S", "0.0.0", "m", "Ljava/lang/String;", "argument"];
        texts.iter().for_each(|text| string(text, &mut body));
        body.push(b'H');
        attachments
            .iter()
            .flat_map(|(key, value)| [key, value])
            .for_each(|it| string(it, &mut body));
        body.push(b'Z');
        Self::new(REQUEST, 0, id, &body)
    }

    fn answer(&self, text: &str) -> Self {
        let mut body = vec![0x91];
        string(text, &mut body);
        Self::new(ANSWER, OK, self.id, &body)
    }

    fn has(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|it| it == text.as_bytes())
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    match text.len() {
        0..=31 => out.push(text.len() as u8),
        length => out.extend_from_slice(&[0x30 | (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(text.as_bytes());
}

/// One end of a connection.
struct Dubbo(Wire);

impl Dubbo {
    async fn send(&mut self, frame: &Frame) {
        let mut bytes = vec![0xda, 0xbb, frame.flags, frame.status];
        bytes.extend_from_slice(&frame.id.to_be_bytes());
        bytes.extend_from_slice(&(frame.body.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&frame.body);
        self.0.send_bytes(&bytes).await;
    }

    async fn frame(&mut self) -> Frame {
        let head = self.0.exactly(16).await;
        assert_eq!(head[..2], [0xda, 0xbb]);
        let length = u32::from_be_bytes(head[12..].try_into().unwrap());
        let body = self.0.exactly(length as usize).await;
        let id = u64::from_be_bytes(head[4..12].try_into().unwrap());
        Frame { flags: head[2], status: head[3], id, body }
    }

    async fn call(&mut self, id: u64, attachments: &[(&str, &str)]) -> Frame {
        self.send(&Frame::request(id, attachments)).await;
        let answer = self.frame().await;
        assert_eq!(answer.id, id);
        answer
    }
}

/// Answers every request by its name.
fn serve(instance: Instance, name: &'static str) -> SocketAddr {
    let address = instance.address;
    tokio::spawn(async move {
        loop {
            let mut connection = Dubbo(instance.accept().await);
            tokio::spawn(async move {
                loop {
                    let asked = connection.frame().await;
                    if asked.flags == REQUEST {
                        connection.send(&asked.answer(name)).await;
                    }
                }
            });
        }
    });
    address
}

/// Service `dubbo-b` of application `b`, with these instances.
fn world(instances: &[(SocketAddr, Option<&'static str>)]) -> World {
    let mut world = World::new(&[]);
    world.services = vec![("dubbo-b", "b", instances.to_vec())];
    world.groups = vec![group(gateway_entrance(), &["a", "b"], Fallback::Then(Vec::new()))];
    world
}

#[test]
fn each_request_of_one_connection_goes_where_its_lane_says() {
    on_two_hosts(async |_, elsewhere| {
        let (base, gray) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let world = world(&[(base.address, None), (gray.address, Some("gray"))]);
        for picked in [serve(base, "base"), serve(gray, "gray")] {
            let (proxy, _capture) = captured(&world);
            let mut application = Dubbo(Wire::connect(picked).await);
            for id in 1..20 {
                for (attachments, expected) in [
                    (&[][..], "base"),
                    (&[("baggage", GRAY), ("x", "y")], "gray"),
                    (&[("Baggage", GRAY)], "gray"),
                    (&[("baggage", "user=1")], "base"),
                ] {
                    let answer = application.call(id, attachments).await;
                    assert_eq!(answer.status, OK);
                    assert!(answer.has(expected), "{attachments:?} at {picked}: {answer:?}");
                }
            }
            // Nothing of it passes unread, and all of it is counted as requests.
            assert!(proxy.running.unread().all().is_empty());
            proxy.ended(Outcome::Lane).await;
        }
    });
}

#[test]
fn answers_find_the_one_who_asked_whatever_ids_callers_choose() {
    on_two_hosts(async |_, elsewhere| {
        let base = listen(elsewhere, 0);
        let world = world(&[(base.address, None)]);
        let (_proxy, _capture) = captured(&world);
        let (mut first, mut second) =
            (Dubbo(Wire::connect(base.address).await), Dubbo(Wire::connect(base.address).await));
        first.send(&Frame::request(7, &[("who", "first")])).await;
        let mut server = Dubbo(base.accept().await);
        let of_first = server.frame().await;
        second.send(&Frame::request(7, &[("who", "second")])).await;
        // On the same connection.
        let of_second = server.frame().await;
        assert!(of_first.has("first") && of_second.has("second") && of_first.id != of_second.id);
        // One that nobody has asked for reaches nobody.
        server.send(&Frame::new(ANSWER, OK, 999, b"N")).await;
        server.send(&of_second.answer("to the second")).await;
        server.send(&of_first.answer("to the first")).await;
        for (caller, words) in [(&mut first, "to the first"), (&mut second, "to the second")] {
            let answer = caller.frame().await;
            assert!(answer.id == 7 && answer.has(words), "{answer:?}");
        }
        // Signs of life are answered on either side by the sidecar.
        first.send(&Frame::new(HEARTBEAT, 0, 9, b"N")).await;
        assert_eq!(first.frame().await, Frame::new(0x22, OK, 9, b"N"));
        server.send(&Frame::new(HEARTBEAT, 0, 11, b"N")).await;
        assert_eq!(server.frame().await, Frame::new(0x22, OK, 11, b"N"));
    });
}

#[test]
fn a_server_that_leaves_has_no_more_requests_and_answers_what_it_has() {
    on_two_hosts(async |_, elsewhere| {
        let (leaves, stays) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let world = world(&[(leaves.address, None), (stays.address, None)]);
        let (_proxy, _capture) = captured(&world);
        let mut application = Dubbo(Wire::connect(leaves.address).await);
        application.send(&Frame::request(1, &[])).await;
        let mut server = Dubbo(leaves.accept().await);
        let asked = server.frame().await;
        serve(stays, "stays");
        server.send(&Frame::new(ONE_WAY_EVENT, 0, 3, b"\x01R")).await;
        // Who answers has said before that it leaves.
        server.send(&asked.answer("last")).await;
        assert!(application.frame().await.has("last"));
        for id in 2..10 {
            assert!(application.call(id, &[]).await.has("stays"));
        }
    });
}

#[test]
fn whoever_leaves_and_is_alone_in_its_lane_is_asked_on_a_new_connection() {
    on_two_hosts(async |_, elsewhere| {
        let (alone, base) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let world = world(&[(alone.address, Some("gray")), (base.address, None)]);
        let (_proxy, _capture) = captured(&world);
        serve(base, "base");
        let mut application = Dubbo(Wire::connect(alone.address).await);
        application.send(&Frame::request(1, &[("baggage", GRAY)])).await;
        let mut server = Dubbo(alone.accept().await);
        let asked = server.frame().await;
        server.send(&Frame::new(ONE_WAY_EVENT, 0, 3, b"\x01R")).await;
        server.send(&asked.answer("last")).await;
        assert!(application.frame().await.has("last"));
        // Its successor is in its place, as after an upgrade.
        application.send(&Frame::request(2, &[("baggage", GRAY)])).await;
        let mut successor = Dubbo(alone.accept().await);
        let asked = successor.frame().await;
        successor.send(&asked.answer("successor")).await;
        assert!(application.frame().await.has("successor"));
    });
}

#[test]
fn whoever_waits_for_an_instance_that_breaks_off_is_told() {
    on_two_hosts(async |_, elsewhere| {
        let (breaks, other) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let world = world(&[(breaks.address, None), (other.address, Some("gray"))]);
        let (_proxy, _capture) = captured(&world);
        serve(other, "gray");
        let mut application = Dubbo(Wire::connect(breaks.address).await);
        application.send(&Frame::request(1, &[])).await;
        let mut server = Dubbo(breaks.accept().await);
        server.frame().await;
        drop(server);
        let told = application.frame().await;
        assert_eq!((told.id, told.status), (1, SERVER_ERROR));
        assert!(told.has("without an answer"), "{told:?}");
        // The connection of the application goes on, and others on it never knew.
        assert!(application.call(2, &[("baggage", GRAY)]).await.has("gray"));
        application.send(&Frame::request(3, &[])).await;
        let mut again = Dubbo(breaks.accept().await);
        let asked = again.frame().await;
        again.send(&asked.answer("again")).await;
        assert!(application.frame().await.has("again"));
        // And when nobody is there at all.
        drop((again, breaks));
        let told = application.call(4, &[]).await;
        assert!([SERVICE_ERROR, SERVER_ERROR].contains(&told.status), "{told:?}");
    });
}

#[test]
fn a_request_that_cannot_be_read_is_base_or_refused_as_the_operator_sets() {
    on_two_hosts(async |_, elsewhere| {
        let (base, gray) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let world = world(&[(base.address, None), (gray.address, Some("gray"))]);
        let (base, gray) = (serve(base, "base"), serve(gray, "gray"));
        let mut unread = Frame::request(5, &[("baggage", GRAY)]);
        // As if it were in Protocol Buffers; or cut off.
        unread.flags = 0xc0 | 21;
        let mut broken = Frame::request(6, &[("baggage", GRAY)]);
        broken.body.pop();
        for refuses in [false, true] {
            let (proxy, _capture) = captured_with(&world, |config| config.refuses_unread = refuses);
            for picked in [base, gray] {
                let mut application = Dubbo(Wire::connect(picked).await);
                application.send(&broken).await;
                let answer = application.frame().await;
                let (status, words) =
                    if refuses { (SERVICE_ERROR, "cannot be read") } else { (OK, "base") };
                assert!(answer.status == status && answer.has(words), "{answer:?}");
                // The connection is in step, whatever was in a frame.
                assert!(application.call(7, &[("baggage", GRAY)]).await.has("gray"));
                if refuses {
                    application.send(&unread).await;
                    let refused = application.frame().await;
                    assert_eq!((refused.id, refused.status), (5, SERVICE_ERROR));
                }
            }
            let told = proxy.running.unread().all();
            let told: Vec<_> =
                told.iter().map(|(name, it, calls)| (&**name, it.name(), *calls)).collect();
            assert_eq!(told, [("dubbo-b", "dubbo", if refuses { 4 } else { 2 })]);
        }
    });
}

#[test]
fn the_own_application_has_what_its_lane_leads_to_it_and_its_calls_go_on_in_it() {
    on_two_hosts(async |host, elsewhere| {
        let (base, gray) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let own = listen(host, 20880);
        let mut world = world(&[(base.address, None), (gray.address, Some("gray"))]);
        let another = SocketAddr::new(elsewhere.address(), 1);
        world.services.push(("dubbo-a", "a", vec![(own.address, Some("gray")), (another, None)]));
        let target = base.address;
        serve(base, "base");
        serve(gray, "gray");
        let at = own.address;
        let (proxy, _capture) = captured_with(&world, |config| {
            config.ports = vec![own_port("dubbo-a", Protocol::Http, at)];
            config.tag = Tag::parse("gray").unwrap();
        });
        let mut caller = Dubbo(call_from(elsewhere, at));
        // No sidecar of its caller has sent it here.
        let refused = caller.call(1, &[]).await;
        assert_eq!(refused.status, BAD_REQUEST);
        assert!(refused.has("laneway: misrouted: "), "{refused:?}");
        proxy.counted(Count::Misrouted, 1).await;
        caller.send(&Frame::request(2, &[("baggage", GRAY), ("traceparent", TRACE)])).await;
        let mut application = Dubbo(own.accept().await);
        let asked = application.frame().await;
        assert!(asked.has("argument") && asked.has(GRAY));
        // What it calls meanwhile says which trace it is of, and no more: the lane goes on with it.
        let mut own_call = Dubbo(Wire::connect(target).await);
        for id in 1..5 {
            assert!(own_call.call(id, &[("traceparent", TRACE)]).await.has("gray"));
            assert!(own_call.call(id, &[]).await.has("base"));
        }
        application.send(&asked.answer("done")).await;
        let answer = caller.frame().await;
        assert!(answer.id == 2 && answer.has("done"), "{answer:?}");
        let counters = proxy.running.counters();
        eventually("its answer to be counted", async || {
            counters.requests().iter().any(|row| {
                row.labels.role == Role::SidecarInbound && row.labels.outcome == Outcome::Lane
            })
        })
        .await;
    });
}

#[test]
fn another_instance_has_what_the_chosen_ones_sidecar_refuses_as_misrouted() {
    on_two_hosts(async |_, elsewhere| {
        let (wrong, right) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let world = world(&[(wrong.address, None), (right.address, None)]);
        let (proxy, _capture) = captured(&world);
        let mut application = Dubbo(Wire::connect(wrong.address).await);
        application.send(&Frame::request(1, &[])).await;
        let mut server = Dubbo(wrong.accept().await);
        let asked = server.frame().await;
        serve(right, "right");
        let mut words = Vec::new();
        string("laneway: misrouted: it is gray", &mut words);
        server.send(&Frame::new(ANSWER, BAD_REQUEST, asked.id, &words)).await;
        let answer = application.frame().await;
        assert!(answer.id == 1 && answer.has("right"), "{answer:?}");
        proxy.counted(Count::RetriedMisrouted, 1).await;
    });
}

#[test]
fn a_server_that_speaks_before_its_caller_does_not_make_requests_pass_unread() {
    on_two_hosts(async |_, elsewhere| {
        let (base, gray) = (listen(elsewhere, 0), listen(elsewhere, 0));
        let world = world(&[(base.address, None), (gray.address, Some("gray"))]);
        let (proxy, _capture) = captured(&world);
        let mut application = Dubbo(Wire::connect(base.address).await);
        // Whoever says nothing for a second may be waiting for the server.
        let mut server = Dubbo(base.accept().await);
        server.send(&Frame::new(HEARTBEAT, 0, 1, b"N")).await;
        server.0.closed().await;
        serve(gray, "gray");
        assert!(application.call(1, &[("baggage", GRAY)]).await.has("gray"));
        assert!(proxy.running.unread().all().is_empty());
    });
}

#[test]
fn a_request_to_an_application_past_its_sidecar_outlives_a_new_picture() {
    on_two_hosts(async |_, elsewhere| {
        let own = listen(elsewhere, 0);
        // As its sidecar would be reached.
        let sidecar = SocketAddr::new(elsewhere.address(), 1);
        let mut world = world(&[(sidecar, None)]);
        world.applications = [(("dubbo-b", sidecar), own.address)].into();
        let (proxy, _capture) = captured(&world);
        let mut application = Dubbo(Wire::connect(own.address).await);
        application.send(&Frame::request(1, &[])).await;
        let mut server = Dubbo(own.accept().await);
        let asked = server.frame().await;
        for id in 2..20 {
            proxy.publish.send_replace(world.publish());
            application.send(&Frame::new(HEARTBEAT, 0, id, b"N")).await;
            assert_eq!(application.frame().await.id, id);
        }
        server.send(&asked.answer("still there")).await;
        assert!(application.frame().await.has("still there"));
    });
}

#[test]
fn a_sidecar_that_drains_says_so_and_answers_what_is_under_way() {
    on_two_hosts(async |_, elsewhere| {
        let base = listen(elsewhere, 0);
        let world = world(&[(base.address, None)]);
        let (proxy, _capture) = captured(&world);
        let mut application = Dubbo(Wire::connect(base.address).await);
        application.send(&Frame::request(1, &[])).await;
        let mut server = Dubbo(base.accept().await);
        let asked = server.frame().await;
        let Proxy { running, publish: _publish, .. } = proxy;
        let draining = tokio::spawn(running.drain(PATIENCE));
        assert_eq!(application.frame().await, Frame::new(ONE_WAY_EVENT, 0, 0, b"\x01R"));
        server.send(&asked.answer("done")).await;
        assert!(application.frame().await.has("done"));
        application.0.closed().await;
        within("the end of draining", draining).await.unwrap();
    });
}
