//! Capture with real packets: rules in a network namespace of the test's own, and connections through them.

#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use proxy::{
    capture::{self, Capture, CaptureConfig, CaptureError},
    original_destination::original_destination,
};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use socket2::{Domain, Socket, Type};
use testkit::{Host, Switch, needs, wait};

/// Longer than any connection within a machine takes.
const SOON: Duration = Duration::from_secs(5);

const SIDECAR: u8 = 1;
const ELSEWHERE: u8 = 2;

fn config(outbound_port: u16, inbound_port: u16) -> CaptureConfig {
    CaptureConfig {
        outbound_port,
        inbound_port,
        application_ports: vec![8080],
        own_user_id: None,
        excluded_outbound_ports: Vec::new(),
        excluded_destinations: Vec::new(),
        excluded_inbound_ports: vec![15020],
        ipv6: false,
    }
}

/// A host with a sidecar's two listeners, and another.
fn two_hosts() -> (Host, Host) {
    let switch = Switch::new().unwrap();
    (switch.host(SIDECAR).unwrap(), switch.host(ELSEWHERE).unwrap())
}

fn listen(address: IpAddr, port: u16) -> (TcpListener, u16) {
    let listener = TcpListener::bind((address, port)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Connects on this host; the connection says which listener it reached.
#[track_caller]
fn connect(target: SocketAddr) -> TcpStream {
    TcpStream::connect_timeout(&target, SOON)
        .unwrap_or_else(|error| panic!("connect to {target}: {error}"))
}

/// The next connection, which must come.
#[track_caller]
fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let socket = wait::until(SOON, "a connection", || Ok(listener.accept()?.0)).unwrap();
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// Accepts one connection and tells where it was going.
#[track_caller]
fn accept(listener: &TcpListener) -> Option<SocketAddr> {
    let socket = accepted(listener);
    original_destination(&socket, socket.local_addr().unwrap()).unwrap()
}

/// Everything in the nat tables of this host.
fn rules() -> String {
    let mut all = String::new();
    for program in ["iptables", "ip6tables"] {
        let output = Command::new(program).args(["-t", "nat", "-S"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        all.push_str(&String::from_utf8(output.stdout).unwrap());
    }
    all
}

#[test]
fn outbound_connections_arrive_with_their_destination() {
    if !needs("netns") {
        return;
    }
    let (host, elsewhere) = two_hosts();
    let there = elsewhere.inside(|| listen(elsewhere.address(), 0).0);
    let there_at = there.local_addr().unwrap();
    let excluded = elsewhere.inside(|| listen(elsewhere.address(), 3306).0);
    host.inside(|| {
        let (outbound, outbound_port) = listen(Ipv4Addr::LOCALHOST.into(), 0);
        let (local, local_port) = listen(Ipv4Addr::LOCALHOST.into(), 0);
        let capture = Capture::install(&CaptureConfig {
            excluded_outbound_ports: vec![3306],
            ..config(outbound_port, 15006)
        })
        .unwrap();

        // Captured, whether somebody listens there or not.
        for target in [there_at, SocketAddr::new(elsewhere.address(), 9)] {
            let _caller = connect(target);
            assert_eq!(accept(&outbound), Some(target));
        }
        // Not captured: the sidecar's own connections, loopback, excluded ports.
        let marked = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        capture::mark(&marked).unwrap();
        marked.connect_timeout(&there_at.into(), SOON).unwrap();
        assert_eq!(accept(&there), None);
        let _caller = connect(SocketAddr::from((Ipv4Addr::LOCALHOST, local_port)));
        assert_eq!(accept(&local), None);
        let _caller = connect(SocketAddr::new(elsewhere.address(), 3306));
        assert_eq!(accept(&excluded), None);

        capture.remove().unwrap();
        let _caller = connect(there_at);
        assert_eq!(accept(&there), None);
    });
}

#[test]
fn connections_of_the_sidecars_user_are_not_captured() {
    if !needs("netns") {
        return;
    }
    let (host, elsewhere) = two_hosts();
    let there = elsewhere.inside(|| listen(elsewhere.address(), 0).0);
    host.inside(|| {
        let (_outbound, outbound_port) = listen(Ipv4Addr::LOCALHOST.into(), 0);
        let ours = rustix::process::getuid().as_raw();
        let own_user = CaptureConfig { own_user_id: Some(ours), ..config(outbound_port, 15006) };
        let _capture = Capture::install(&own_user).unwrap();
        let _caller = connect(there.local_addr().unwrap());
        assert_eq!(accept(&there), None);
    });
}

#[test]
fn excluded_ranges_are_not_captured() {
    if !needs("netns") {
        return;
    }
    let (host, elsewhere) = two_hosts();
    let there = elsewhere.inside(|| listen(elsewhere.address(), 0).0);
    host.inside(|| {
        let (_outbound, outbound_port) = listen(Ipv4Addr::LOCALHOST.into(), 0);
        let excluded_destinations =
            vec!["10.77.0.2/31".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let _capture = Capture::install(&CaptureConfig {
            excluded_destinations,
            ..config(outbound_port, 15006)
        })
        .unwrap();
        let _caller = connect(there.local_addr().unwrap());
        assert_eq!(accept(&there), None);
    });
}

#[test]
fn inbound_connections_to_the_application_arrive_with_their_destination() {
    if !needs("netns") {
        return;
    }
    let (host, elsewhere) = two_hosts();
    let unspecified = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let (inbound, application, admin, other, capture) = host.inside(|| {
        let (inbound, inbound_port) = listen(unspecified, 0);
        let (application, _) = listen(unspecified, 8080);
        let (admin, _) = listen(unspecified, 15020);
        let (other, _) = listen(unspecified, 9000);
        let both =
            CaptureConfig { application_ports: vec![8080, 15020], ..config(15001, inbound_port) };
        (inbound, application, admin, other, Capture::install(&both).unwrap())
    });
    elsewhere.inside(|| {
        let target = SocketAddr::new(host.address(), 8080);
        let _caller = connect(target);
        assert_eq!(accept(&inbound), Some(target));
        let _caller = connect(SocketAddr::new(host.address(), 15020));
        assert_eq!(accept(&admin), None);
        let _caller = connect(SocketAddr::new(host.address(), 9000));
        assert_eq!(accept(&other), None);
    });
    host.inside(|| {
        // The sidecar hands requests on over loopback, or to the host's own address with its mark.
        let _caller = connect(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
        assert_eq!(accept(&application), None);
        let marked = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        capture::mark(&marked).unwrap();
        marked.connect_timeout(&SocketAddr::new(host.address(), 8080).into(), SOON).unwrap();
        assert_eq!(accept(&application), None);
        drop(capture);
    });
    elsewhere.inside(|| {
        let _caller = connect(SocketAddr::new(host.address(), 8080));
        assert_eq!(accept(&application), None);
    });
}

#[test]
fn both_families_are_captured() {
    if !needs("netns") {
        return;
    }
    let (host, elsewhere) = two_hosts();
    let (inbound, capture) = host.inside(|| {
        let (outbound, outbound_port) = listen("::1".parse().unwrap(), 0);
        let (inbound, inbound_port) = listen("::".parse().unwrap(), 0);
        let capture =
            Capture::install(&CaptureConfig { ipv6: true, ..config(outbound_port, inbound_port) })
                .unwrap();
        let target = SocketAddr::new(elsewhere.address_v6(), 80);
        let _caller = connect(target);
        assert_eq!(accept(&outbound), Some(target));
        (inbound, capture)
    });
    elsewhere.inside(|| {
        // One listener on all addresses serves both.
        for address in [host.address_v6(), host.address()] {
            let target = SocketAddr::new(address, 8080);
            let _caller = connect(target);
            assert_eq!(accept(&inbound), Some(target));
        }
    });
    host.inside(|| drop(capture));
}

#[test]
fn rules_are_installed_once_and_removed_without_a_trace() {
    if !needs("netns") {
        return;
    }
    let (host, _) = two_hosts();
    host.inside(|| {
        let others = ["-t", "nat", "-A", "OUTPUT", "-p", "udp", "--dport", "53", "-j", "RETURN"];
        assert!(Command::new("iptables").args(others).status().unwrap().success());
        let before = rules();

        // A sidecar that was killed, with another configuration, twice.
        for port in [15001, 25001] {
            std::mem::forget(
                Capture::install(&CaptureConfig { ipv6: true, ..config(port, 15006) }).unwrap(),
            );
        }
        let jump = ["-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-j", capture::OUTPUT_CHAIN];
        assert!(Command::new("iptables").args(jump).status().unwrap().success());

        let capture = Capture::install(&config(15001, 15006)).unwrap();
        let installed = rules();
        assert_eq!(installed.matches("--to-ports 15001").count(), 1, "{installed}");
        assert!(!installed.contains("--to-ports 25001"), "{installed}");
        drop(capture);
        assert_eq!(rules(), before);

        let capture = Capture::install(&config(15001, 15006)).unwrap();
        capture.remove().unwrap();
        assert_eq!(rules(), before);
    });
}

#[test]
fn missing_privileges_are_named_and_nothing_is_left() {
    if !needs("netns") {
        return;
    }
    let (host, _) = two_hosts();
    host.inside(rules); // makes the built-in chains
    let before = host.inside(rules);
    let error = host.inside(|| {
        // Of this thread and what it starts, for good.
        for capability in [CapabilitySet::NET_ADMIN, CapabilitySet::NET_RAW] {
            remove_capability_from_bounding_set(capability).unwrap();
        }
        Capture::install(&config(15001, 15006)).unwrap_err()
    });
    assert!(matches!(error, CaptureError::NotPermitted { .. }), "{error:?}");
    assert!(error.to_string().contains("run as root or with CAP_NET_ADMIN"), "{error}");
    assert_eq!(host.inside(rules), before);
}

/// What is read here is what the caller wrote: the redirect changes addresses and no bytes.
#[test]
fn bytes_of_a_captured_connection_are_untouched() {
    if !needs("netns") {
        return;
    }
    let (host, elsewhere) = two_hosts();
    host.inside(|| {
        let (outbound, outbound_port) = listen(Ipv4Addr::LOCALHOST.into(), 0);
        let _capture = Capture::install(&config(outbound_port, 15006)).unwrap();
        let mut caller = connect(SocketAddr::new(elsewhere.address(), 80));
        caller.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        drop(caller);
        let mut socket = accepted(&outbound);
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        assert_eq!(text, "GET / HTTP/1.1\r\n\r\n");
    });
}

/// A word goes either way.
#[track_caller]
fn talk(one: &mut TcpStream, other: &mut TcpStream) {
    for _ in 0..2 {
        one.write_all(b"word").unwrap();
        let mut word = [0; 4];
        other.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"word");
        std::mem::swap(one, other);
    }
}

#[test]
fn connections_that_were_captured_go_on_while_nothing_new_is() {
    if !needs("netns") {
        return;
    }
    let (host, elsewhere) = two_hosts();
    let (inbound, capture) = host.inside(|| {
        let (inbound, inbound_port) = listen(Ipv4Addr::UNSPECIFIED.into(), 0);
        let (outbound, outbound_port) = listen(Ipv4Addr::LOCALHOST.into(), 0);
        let capture = Capture::install(&config(outbound_port, inbound_port)).unwrap();
        ((inbound, outbound), capture)
    });
    let (inbound, outbound) = inbound;
    let mut caller = host.inside(|| connect(SocketAddr::new(elsewhere.address(), 80)));
    let mut outbound = accepted(&outbound);
    let mut stranger = elsewhere.inside(|| connect(SocketAddr::new(host.address(), 8080)));
    let mut inbound = accepted(&inbound);
    for socket in [&caller, &stranger] {
        socket.set_read_timeout(Some(SOON)).unwrap();
    }
    talk(&mut caller, &mut outbound);
    host.inside(|| {
        capture.release_inbound().unwrap();
        capture.release_outbound().unwrap();
    });
    talk(&mut caller, &mut outbound);
    talk(&mut stranger, &mut inbound);
    // Nothing new is captured any more.
    let there = elsewhere.inside(|| listen(elsewhere.address(), 0).0);
    host.inside(|| {
        let _caller = connect(there.local_addr().unwrap());
        assert_eq!(accept(&there), None);
        capture.remove().unwrap();
    });
}

#[test]
fn connections_of_before_the_rules_are_left_alone() {
    if !needs("netns") {
        return;
    }
    let (host, elsewhere) = two_hosts();
    let there = elsewhere.inside(|| listen(elsewhere.address(), 0).0);
    let here = host.inside(|| listen(host.address(), 8080).0);
    let mut caller = host.inside(|| connect(there.local_addr().unwrap()));
    let mut server = accepted(&there);
    let mut stranger = elsewhere.inside(|| connect(here.local_addr().unwrap()));
    let mut application = accepted(&here);
    for socket in [&caller, &stranger] {
        socket.set_read_timeout(Some(SOON)).unwrap();
    }
    host.inside(|| {
        let (outbound, outbound_port) = listen(Ipv4Addr::LOCALHOST.into(), 0);
        let (inbound, inbound_port) = listen(Ipv4Addr::UNSPECIFIED.into(), 0);
        let _capture = Capture::install(&config(outbound_port, inbound_port)).unwrap();
        talk(&mut caller, &mut server);
        talk(&mut stranger, &mut application);
        drop((outbound, inbound));
    });
}
