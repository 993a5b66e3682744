//! Listeners beside those that move requests: who says half a word, or vanishes, does not stay; there is an end of room.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use testkit::relay::Relay;

use crate::{SOON, answers, sandbox, says};

/// Connections to the API, or an admin address, at a time.
pub(crate) const API_CONNECTIONS_MAX: usize = 1024;

/// How long a peer that has vanished may go unnoticed.
const NOTICED: Duration = Duration::from_secs(15);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A caller that says so much and no more.
fn caller(address: &str, words: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(words)?;
    Ok(stream)
}

/// Waits for the end of a connection, in order or not.
fn ends(mut stream: TcpStream) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error.into()),
        _ => Ok(said),
    }
}

#[test]
fn who_says_half_a_word_is_let_go() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let _gateway = sandbox.gateway(&sandbox.discovery_address())?;
    let (api, discovery) = (sandbox.api_address(), sandbox.discovery_address());
    let admin = sandbox.endpoint(1, 15020);
    let half_a_body = format!(
        "POST /api/v1alpha1/apply HTTP/1.1\r\nhost: {api}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    let settings = [PREFACE, EMPTY_SETTINGS].concat();
    let halves: [(&str, &[u8]); 8] = [
        (&api, b""),
        (&api, b"GET /readyz HTTP/1.1\r\nhost:"),
        (&api, half_a_body.as_bytes()),
        (&admin, b""),
        (&admin, b"GET /met"),
        (&discovery, b""),
        (&discovery, &PREFACE[..10]),
        // It is HTTP/2, and then answers no ping.
        (&discovery, &settings),
    ];
    let callers: Vec<_> =
        halves.iter().map(|(address, words)| caller(address, words)).collect::<Result<_>>()?;
    for ((address, words), caller) in halves.iter().zip(callers) {
        let ended = ends(caller);
        ensure!(ended.is_ok(), "{} stays at {address}: {ended:?}", words.escape_ascii());
    }
    answers(&api, "/readyz", 200, "")
}

#[test]
fn there_is_an_end_of_room_at_the_api() -> Result<()> {
    let sandbox = sandbox()?;
    let _control = sandbox.control(&[])?;
    let api = sandbox.api_address();
    let held: Vec<_> =
        (0..API_CONNECTIONS_MAX).map(|_| caller(&api, b"")).collect::<Result<_>>()?;
    let begun = Instant::now();
    ends(caller(&api, b"")?)?;
    ensure!(begun.elapsed() < Duration::from_secs(5), "it was not closed at once");
    drop(held);
    answers(&api, "/metrics", 200, "laneway_listener_refused_total{listener=\"api\"} 1")
}

#[test]
fn a_peer_that_vanishes_is_noticed_on_both_sides() -> Result<()> {
    let sandbox = sandbox()?;
    let control = sandbox.control(&[])?;
    let between = sandbox.endpoint(9, 7601);
    let relay = Relay::start(&between, &sandbox.discovery_address(), None)?;
    let _gateway = sandbox.gateway(&between)?;
    let admin = sandbox.endpoint(1, 15020);
    answers(&admin, "/metrics", 200, "laneway_control_connected 1")?;
    let begun = Instant::now();
    relay.freeze();
    says(&control, "data plane disconnected")?;
    answers(&admin, "/metrics", 200, "laneway_control_connected 0")?;
    ensure!(begun.elapsed() < NOTICED, "noticed after {:?}", begun.elapsed());
    Ok(())
}
