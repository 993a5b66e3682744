//! Third-party applications that know nothing of lanes, each on a host of its own beside a sidecar that captures
//! transparently: instrumented by OpenTelemetry without a line of code, or passing on nothing but `x-request-id`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test"
)]

mod calls;
mod jvm;
mod mesh;

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use testkit::{http, needs, wait};

use mesh::{APPLICATION_PORT, Forwarding, Instance, Language, Mesh};

const BASE: &str = "A[10.77.0.11] -> B[10.77.0.12] -> C[10.77.0.13]";
const GRAY: &str = "Agray[10.77.0.21] -> B[10.77.0.12] -> Cgray[10.77.0.23]";
const BLUE: &str = "A[10.77.0.11] -> B[10.77.0.12] -> Cblue[10.77.0.33]";

/// A and C in the lane gray, C in the lane blue, B in no lane: it lies between and must keep the lanes apart.
const CHAIN: [Instance; 6] = [
    instance("A", None, 11, Language::Python, Some((12, "/b"))),
    instance("A", Some("gray"), 21, Language::Python, Some((12, "/b"))),
    instance("B", None, 12, Language::Node, Some((13, "/c"))),
    instance("C", None, 13, Language::Python, None),
    instance("C", Some("gray"), 23, Language::Python, None),
    instance("C", Some("blue"), 33, Language::Python, None),
];

/// Requests in flight at once.
const IN_FLIGHT: usize = 64;

/// Longer than anything takes that is not broken.
const SOON: Duration = Duration::from_secs(10);

/// Only one mesh at a time: its interpreters want both cores.
static TURN: Mutex<()> = Mutex::new(());

const fn instance(
    name: &'static str,
    tag: Option<&'static str>,
    host: u8,
    language: Language,
    calls: Option<(u8, &'static str)>,
) -> Instance {
    Instance { name, tag, host, language, calls }
}

fn start(forwarding: Forwarding) -> Mesh {
    let mesh = Mesh::start(&CHAIN, forwarding).unwrap();
    wait_for_lanes(&mesh);
    mesh
}

fn wait_for_lanes(mesh: &Mesh) {
    mesh.wait_for_chain(&[], BASE).unwrap();
    mesh.wait_for_chain(&["canary: gray"], GRAY).unwrap();
    mesh.wait_for_chain(&["canary: blue"], BLUE).unwrap();
}

/// Does `work` for every number below `count`, [`IN_FLIGHT`] at a time, on the gateway's host; its complaints.
fn concurrently(
    mesh: &Mesh,
    count: usize,
    work: impl Fn(usize) -> Option<String> + Sync,
) -> Vec<String> {
    at_once(mesh, IN_FLIGHT, count, work)
}

/// The same with so many at a time.
fn at_once(
    mesh: &Mesh,
    in_flight: usize,
    count: usize,
    work: impl Fn(usize) -> Option<String> + Sync,
) -> Vec<String> {
    let (next, complaints) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    mesh.on_edge(|| {
        std::thread::scope(|scope| {
            for _ in 0..in_flight {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            break;
                        }
                        if let Some(complaint) = work(number) {
                            complaints.lock().push(complaint);
                        }
                    }
                });
            }
        });
    });
    complaints.into_inner()
}

/// A lane header, and the chain that must answer.
fn lane(number: usize) -> (&'static [&'static str], &'static str) {
    match number % 3 {
        0 => (&[], BASE),
        1 => (&["canary: gray"], GRAY),
        _ => (&["canary: blue"], BLUE),
    }
}

/// What a forged context may not do: the gateway's listener trusts nobody.
fn check_forgeries(mesh: &Mesh) {
    for forged in [
        &["baggage: lane.trade=gray"][..],
        &["baggage: user=7,lane.trade=blue"],
        &["baggage: lane.trade=gray", "baggage: lane.trade=blue"],
        &["tracestate: lane.trade=gray", "x-lane: gray"],
    ] {
        let answer = mesh.on_edge(|| mesh.get(forged)).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, BASE), "{forged:?}");
    }
    let both = ["canary: gray", "baggage: lane.trade=blue"];
    let answer = mesh.on_edge(|| mesh.get(&both)).unwrap();
    assert_eq!(answer.body, GRAY, "{both:?}: the entrance decides");
}

/// 300 requests of all lanes, 64 in flight, each answered by its own chain.
fn check_mixed(mesh: &Mesh) {
    let complaints = concurrently(mesh, 300, |number| {
        let (headers, chain) = lane(number);
        match mesh.get(headers) {
            Ok(answer) if answer.status == 200 && answer.body == chain => None,
            Ok(answer) => Some(format!("{headers:?}: {} {}", answer.status, answer.body)),
            Err(error) => Some(format!("{headers:?}: {error:#}")),
        }
    });
    assert!(
        complaints.is_empty(),
        "{} of 300: {:#?}",
        complaints.len(),
        &complaints[..complaints.len().min(5)]
    );
}

#[test]
fn applications_under_zero_code_instrumentation_stay_in_their_lane() {
    if !(needs("netns") && needs("otel")) {
        return;
    }
    let _turn = TURN.lock();
    let mut mesh = start(Forwarding::OpenTelemetry);
    check_forgeries(&mesh);
    check_mixed(&mesh);

    // It is baggage that carries the lanes: requests in a lane ask nothing of correlation.
    let before = quiet_counters_of_b(&mesh);
    let complaints = concurrently(&mesh, 50, |_| {
        let answer = mesh.get(&["canary: gray"]).unwrap();
        (answer.body != GRAY).then_some(answer.body)
    });
    assert!(complaints.is_empty(), "{complaints:?}");
    let after = quiet_counters_of_b(&mesh);
    assert_eq!(after.passed_on, before.passed_on + 50);
    assert_eq!(
        after.looked_up, before.looked_up,
        "a request in a lane was looked up by its trace id"
    );

    // A disabled lane is the base at once, also for these applications.
    mesh.disable_gray().unwrap();
    mesh.wait_for_chain(&["canary: gray"], BASE).unwrap();
    assert!(mesh.ended().is_empty(), "{:?}", mesh.ended());
}

#[test]
fn applications_that_pass_on_only_a_request_id_stay_in_their_lane() {
    if !(needs("netns") && needs("otel")) {
        return;
    }
    let _turn = TURN.lock();
    let mut mesh = start(Forwarding::RequestId);
    check_forgeries(&mesh);
    check_mixed(&mesh);
    check_reused_ids(&mesh);
    assert!(mesh.ended().is_empty(), "{:?}", mesh.ended());
}

#[test]
fn capture_survives_what_happens_around_it() {
    if !(needs("netns") && needs("otel")) {
        return;
    }
    let _turn = TURN.lock();
    let mut mesh = start(Forwarding::RequestId);
    check_foreign_traffic(&mesh);

    // A killed sidecar leaves its rules; the next one takes them over.
    mesh.kill_sidecar(12);
    assert!(mesh.rules(12).unwrap().contains("LANEWAY_OUTPUT"));
    mesh.start_sidecar_again(12).unwrap();
    wait_for_lanes(&mesh);
    let rules = mesh.rules(12).unwrap();
    let is_jump = |rule: &&str| rule.starts_with("-A OUTPUT ") && rule.ends_with(" LANEWAY_OUTPUT");
    assert_eq!(rules.lines().filter(is_jump).count(), 1, "{rules}");

    // The sidecars' own connections to the control plane come back too, and bring what is new.
    mesh.restart_serve().unwrap();
    wait_for_lanes(&mesh);
    mesh.disable_gray().unwrap();
    mesh.wait_for_chain(&["canary: gray"], BASE).unwrap();

    // A sidecar that is stopped takes its rules with it, and its host goes on without.
    mesh.stop_sidecar(11).unwrap();
    let rules = mesh.rules(11).unwrap();
    assert!(!rules.contains("LANEWAY"), "{rules}");
    let direct =
        mesh.on_host(11, || http::get(&format!("10.77.0.13:{APPLICATION_PORT}"), "/c", &[]));
    assert_eq!(direct.unwrap().body, "C[10.77.0.13]");
}

/// What is no known service, or no HTTP, passes through byte by byte, whoever speaks first.
fn check_foreign_traffic(mesh: &Mesh) {
    let server = mesh.on_edge(|| TcpListener::bind("10.77.0.1:0")).unwrap();
    let address = server.local_addr().unwrap();
    mesh.on_host(11, || {
        let mut client = TcpStream::connect(address).unwrap();
        server.set_nonblocking(true).unwrap();
        let accept = || Ok(server.accept()?.0);
        let mut served = wait::until(SOON, "a connection passed through", accept).unwrap();
        served.set_nonblocking(false).unwrap();
        for end in [&served, &client] {
            end.set_read_timeout(Some(SOON)).unwrap();
        }
        served.write_all(b"220 ready\r\n").unwrap();
        let mut greeting = [0; 11];
        client.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 ready\r\n");
        client.write_all(b"\x00\xffGET / HTTP/1.1\r\n\r\n").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut received = Vec::new();
        served.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"\x00\xffGET / HTTP/1.1\r\n\r\n");
        // The other half is still open.
        served.write_all(b"bye").unwrap();
        drop(served);
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "bye");
    });
    let passed = || mesh.counter(11, "laneway_passed_through_connections_total", &[]).unwrap();
    wait::until_true(SOON, "a connection of A passed through", || passed() > 0).unwrap();
}

struct CountersOfB {
    passed_on: u64,
    looked_up: u64,
}

/// The counters of B's sidecar once everything so far is in them: they are published once a second.
fn quiet_counters_of_b(mesh: &Mesh) -> CountersOfB {
    let read = || CountersOfB {
        passed_on: mesh
            .counter(12, "laneway_requests_total", &["role=\"sidecar_outbound\""])
            .unwrap(),
        looked_up: mesh.counter(12, "laneway_correlation_total", &[]).unwrap(),
    };
    let mut last = read();
    loop {
        wait::pause(Duration::from_millis(2500));
        let now = read();
        if now.passed_on == last.passed_on && now.looked_up == last.looked_up {
            return now;
        }
        last = now;
    }
}

/// Requests that come from inside the mesh, so with contexts and ids of the caller's choice: a third of them under ids
/// of their own, the others under eight ids that all lanes share at the same time.
fn check_reused_ids(mesh: &Mesh) {
    const COUNT: usize = 600;
    let counted = Mutex::new(BTreeMap::<String, u32>::new());
    let complaints = concurrently(mesh, COUNT, |number| {
        let (entry, context, own, base) = match number % 3 {
            0 => (11, None, BASE, BASE),
            1 => (
                21,
                Some("baggage: lane.trade=gray"),
                GRAY,
                "Agray[10.77.0.21] -> B[10.77.0.12] -> C[10.77.0.13]",
            ),
            _ => (11, Some("baggage: lane.trade=blue"), BLUE, BASE),
        };
        let shared = number / 3 % 3 > 0;
        let id =
            if shared { format!("shared-{}", number / 9 % 8) } else { format!("own-{number}") };
        let id = format!("x-request-id: {id}");
        let headers: Vec<&str> = std::iter::once(id.as_str()).chain(context).collect();
        let entry = format!("10.77.0.{entry}:{APPLICATION_PORT}");
        let answer = match http::get(&entry, "/a", &headers) {
            Ok(answer) => answer,
            Err(error) => return Some(format!("{headers:?}: {error:#}")),
        };
        // Where lanes share an id, a request is in its own lane or in the base; under its own id it is in its lane.
        let right = answer.body == own || (shared && answer.body == base);
        let kind = format!("{} {}", if shared { "shared" } else { "own" }, answer.body);
        *counted.lock().entry(kind).or_default() += 1;
        (!right).then(|| format!("{headers:?}: {} {}", answer.status, answer.body))
    });
    let counted = counted.into_inner();
    assert!(
        complaints.is_empty(),
        "{} of {COUNT}: {:#?}",
        complaints.len(),
        &complaints[..complaints.len().min(5)]
    );
    for chain in [BASE, GRAY, BLUE] {
        assert!(
            counted.get(&format!("own {chain}")).is_some_and(|count| *count > 50),
            "{counted:?}"
        );
    }
    let conflicts =
        || mesh.counter(12, "laneway_correlation_total", &["result=\"conflict\""]).unwrap();
    wait::until_true(SOON, "conflicts at B", || conflicts() > 0).unwrap();
}
