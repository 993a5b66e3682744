//! What a sidecar does with a new connection: HTTP is read, everything else passes through untouched.

use std::{
    future::poll_fn,
    io,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    task::{Poll, ready},
    time::{Duration, Instant},
};

use lanes::AddressLookup;

use crate::{
    buffers::Buffer,
    deadlines::HasDeadline as _,
    downstream::h1::serve,
    dubbo,
    plan::Tunnel,
    published::Query,
    transport::{Connection, Transport as _},
    unread::{
        Protocol,
        instances::{pass_through, pass_to_one_of},
    },
    worker::Worker,
};

use super::{inbound::Inbound, outbound::Outbound};

/// How long the caller has to speak first. Then the other side is connected and may: protocols exist in which the
/// server greets. A caller that speaks HTTP after all is still served as such.
const CALLER_SPEAKS_FIRST: Duration = Duration::from_secs(1);

/// Bytes within which a first line ends, if it is one: the longest method that a server may know, or none; and with blanks
/// in it a request's that is to be refused.
const FIRST_LINE_BYTES: usize = 4096;

/// Serves a connection that the own application made.
pub(super) async fn serve_outbound(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    outbound: Outbound,
    original: Option<SocketAddr>,
) {
    let Some(original) = original else {
        let (first, own) = (Buffer::default(), (Rc::clone(&worker), Rc::clone(&connection)));
        if let Some((tunnel, first)) = serve(own.0, own.1, &outbound, first).await {
            Box::pin(serve_tunnel(worker, connection, outbound, tunnel, first)).await;
        }
        return;
    };
    // What is not known in time is looked at again with every request.
    if is_somebodys(&worker, original).await == Some(false) {
        outbound.goes_past(&worker, original);
        return pass_through(&worker, connection, original, None, Buffer::default()).await;
    }
    if let Some(reached) = outbound.beyond_http(&worker, Some(original), &[]) {
        let another =
            |tried: &[SocketAddr]| outbound.beyond_http(&worker, Some(original), tried).flatten();
        return pass_to_one_of(&worker, connection, reached, another, Buffer::default()).await;
    }
    match listen_first(&worker, &connection, original).await {
        Heard::Http(first) => {
            serve(worker, connection, &outbound, first).await;
        }
        Heard::Dubbo(first) => {
            Box::pin(dubbo::serve(worker, connection, Rc::new(outbound), first)).await;
        }
        Heard::Other(first, instance) => {
            outbound.passes_unread(&worker, original, Protocol::of(first.filled()));
            if outbound.refuses_unread() {
                return connection.reset_when_closed();
            }
            let elsewhere =
                |tried: &[SocketAddr]| outbound.must_not_have_unread(&worker, original, tried);
            // Who has greeted its caller has the connection already.
            let has_greeted = instance.as_ref().is_some_and(|(_, greeting)| !greeting.is_empty());
            match elsewhere(&[]).filter(|_| !has_greeted) {
                Some(base) => {
                    let another = |tried: &[SocketAddr]| elsewhere(tried).flatten();
                    pass_to_one_of(&worker, connection, base, another, first).await;
                }
                None => pass_through(&worker, connection, original, instance, first).await,
            }
        }
        Heard::Nothing => {}
    }
}

/// Serves what comes through a tunnel: to a service requests one by one, everything else of it as base.
async fn serve_tunnel(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    outbound: Outbound,
    tunnel: Tunnel,
    first: Buffer,
) {
    let inside = match tunnel {
        Tunnel::Service(host, port) => outbound.inside(host, port),
        Tunnel::Address(address) => {
            // It was connected to before the client was told.
            let instance = worker.pooled(address).map(|instance| (instance, Buffer::default()));
            return pass_through(&worker, connection, address, instance, first).await;
        }
    };
    if let Some(reached) = inside.beyond_http_inside(&worker, &[]) {
        let another = |tried: &[SocketAddr]| inside.beyond_http_inside(&worker, tried).flatten();
        return pass_to_one_of(&worker, connection, reached, another, first).await;
    }
    worker.deadlines.arm(connection.deadline(), worker.timeouts.idle, Shutdown::Read);
    connection.idle.set(true);
    let first =
        if first.is_empty() { connection.receive(&worker.buffers).await } else { Ok(first) };
    connection.idle.set(false);
    let Ok(first) = first else { return };
    let Some((first, is_http)) = read_on(&worker, &connection, first).await else { return };
    if is_http {
        serve(worker, connection, &inside, first).await;
        return;
    }
    match inside.base_instance(&worker, &[]) {
        Some(reached) if !first.is_empty() => {
            inside.passes_unread(&worker, reached.instance, Protocol::of(first.filled()));
            let another = |tried: &[SocketAddr]| inside.base_instance(&worker, tried);
            pass_to_one_of(&worker, connection, Some(reached), another, first).await;
        }
        // Not in order: the client was told that the tunnel is there.
        _ => connection.reset_when_closed(),
    }
}

/// Reads on until it is known whether it is HTTP, as long as a head may take. `None`: it was not to be known.
async fn read_on(
    worker: &Worker,
    connection: &Connection,
    mut buffer: Buffer,
) -> Option<(Buffer, bool)> {
    let mut waits = false;
    let is_http = loop {
        if let Some(is_http) = is_http(buffer.filled(), false) {
            break is_http;
        }
        if !waits {
            waits = true;
            worker.deadlines.set_now(Instant::now());
            worker.deadlines.arm(connection.deadline(), worker.timeouts.head, Shutdown::Read);
        }
        let received;
        (buffer, received) = connection.receive_more(buffer).await;
        if !matches!(received, Ok(bytes) if bytes > 0) {
            if connection.deadline().is_expired() {
                connection.reset_when_closed();
                return None;
            }
            // What ended is whole.
            break is_http(buffer.filled(), true) == Some(true);
        }
    };
    connection.deadline().disarm();
    Some((buffer, is_http))
}

/// Serves a connection that somebody else made to the own application.
pub(super) async fn serve_inbound(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    inbound: Inbound,
    original: Option<SocketAddr>,
) {
    match original {
        // Redirected: the application may listen on several ports, and not all of them speak HTTP.
        Some(original) if inbound.is_for_tcp(original) => {
            pass_through(&worker, connection, original, None, Buffer::default()).await;
        }
        Some(original) => match listen_first(&worker, &connection, original).await {
            Heard::Http(first) => {
                serve(worker, connection, &inbound, first).await;
            }
            Heard::Dubbo(first) => {
                Box::pin(dubbo::serve(worker, connection, Rc::new(inbound), first)).await;
            }
            Heard::Other(first, instance) => {
                inbound.arrives_unread(Protocol::of(first.filled()));
                if inbound.refuses_unread() {
                    return connection.reset_when_closed();
                }
                pass_through(&worker, connection, original, instance, first).await;
            }
            Heard::Nothing => {}
        },
        None => {
            serve(worker, connection, &inbound, Buffer::default()).await;
        }
    }
}

/// Whether an address belongs to a service, asking if nobody has yet. `None`: nobody has answered.
async fn is_somebodys(worker: &Worker, address: SocketAddr) -> Option<bool> {
    let is_known = |picture: &crate::Published| match picture.lanes.directory().by_address(address)
    {
        AddressLookup::Known(_) => Some(true),
        AddressLookup::Absent => Some(false),
        AddressLookup::Unsubscribed => None,
    };
    let known = is_known(&worker.picture());
    if known.is_some() {
        return known;
    }
    let learnt = worker.learn(&Query::Address(address)).await?;
    is_known(&learnt)
}

/// What a connection begins with.
enum Heard {
    Http(Buffer),
    Dubbo(Buffer),
    /// Neither, and the other side's connection if it was made already.
    Other(Buffer, Option<(Rc<Connection>, Buffer)>),
    Nothing,
}

/// Until its first byte a connection is idle, whichever side it waits for.
async fn listen_first(worker: &Worker, connection: &Rc<Connection>, original: SocketAddr) -> Heard {
    connection.idle.set(true);
    let (first, instance) = first_of_both(worker, connection, original).await;
    connection.idle.set(false);
    connection.deadline().disarm();
    match (first, instance) {
        (Ok(buffer), instance) if !buffer.is_empty() => {
            match read_on(worker, connection, buffer).await {
                Some((buffer, true)) => Heard::Http(buffer),
                Some((buffer, false)) => is_dubbo(worker, connection, buffer, instance).await,
                None => Heard::Nothing,
            }
        }
        // A server of Dubbo asks for a sign of life, or leaves, before its caller has asked for anything.
        (Ok(buffer), Some((_, greeting))) if greeting.filled().starts_with(&dubbo::MAGIC) => {
            Heard::Dubbo(buffer)
        }
        // The other side greets.
        (Ok(buffer), Some((instance, greeting))) if !greeting.is_empty() => {
            Heard::Other(buffer, Some((instance, greeting)))
        }
        _ => Heard::Nothing,
    }
}

/// Whether what is no HTTP begins a frame of Dubbo, which its first two bytes tell.
async fn is_dubbo(
    worker: &Worker,
    connection: &Connection,
    mut buffer: Buffer,
    instance: Option<(Rc<Connection>, Buffer)>,
) -> Heard {
    if buffer.filled() == &dubbo::MAGIC[..1] {
        let more = connection.receive_more(std::mem::take(&mut buffer));
        match tokio::time::timeout(worker.timeouts.head, more).await {
            Ok((received, Ok(_))) => buffer = received,
            Ok((_, Err(_))) | Err(_) => {
                connection.reset_when_closed();
                return Heard::Nothing;
            }
        }
    }
    match buffer.filled().starts_with(&dubbo::MAGIC) {
        true => Heard::Dubbo(buffer),
        false => Heard::Other(buffer, instance),
    }
}

/// What the caller says first, and the other side's connection with its greeting if it was made before.
async fn first_of_both(
    worker: &Worker,
    connection: &Rc<Connection>,
    original: SocketAddr,
) -> (io::Result<Buffer>, Option<(Rc<Connection>, Buffer)>) {
    match tokio::time::timeout(CALLER_SPEAKS_FIRST, connection.receive(&worker.buffers)).await {
        Ok(received) => (received, None),
        Err(_) => {
            let other = match Box::pin(worker.open(original)).await {
                Ok(other) => other,
                Err(_) => {
                    connection.reset_when_closed();
                    return (Ok(Buffer::default()), None);
                }
            };
            // Neither may ever speak: a pool opened it, or somebody who means no good.
            worker.deadlines.arm(connection.deadline(), worker.timeouts.tunnel, Shutdown::Read);
            let mut greeting = Buffer::default();
            let first = poll_fn(|context| {
                if let Poll::Ready(received) = connection.poll_receive(context, &worker.buffers, 0)
                {
                    return Poll::Ready(received);
                }
                // Servers of HTTP/2 say at once what they ask for; their caller is still to speak.
                if is_asking(greeting.filled()) {
                    return Poll::Pending;
                }
                greeting =
                    ready!(other.poll_receive(context, &worker.buffers, 0)).unwrap_or_default();
                if is_asking(greeting.filled()) {
                    return Poll::Pending;
                }
                Poll::Ready(Ok(Buffer::default()))
            })
            .await;
            (first, Some((other, greeting)))
        }
    }
}

/// Whether it begins with the settings of HTTP/2, as no greeting of another protocol does.
fn is_asking(greeting: &[u8]) -> bool {
    matches!(greeting, [0, _, bytes, 4, 0, 0, 0, 0, 0, ..] if bytes % 6 == 0)
}

/// Whether bytes begin a request, or HTTP/2, or what some servers take for a request: it is refused; unread it would
/// reach an instance whatever its lane. `is_all`: no more come. `None`: too few to tell.
fn is_http(bytes: &[u8], is_all: bool) -> Option<bool> {
    match begins_request(bytes) {
        Some(true) => Some(true),
        None if !is_all => None,
        Some(false) | None => is_almost_http(bytes, is_all),
    }
}

/// Whether the first line, blank ones aside, names HTTP/1 at its end: no other protocol's does. Until its end it may still
/// be to come, as long as what is there is a word as methods are, or begins with one.
fn is_almost_http(bytes: &[u8], is_all: bool) -> Option<bool> {
    let begun = bytes.trim_ascii_start();
    let mut lines = begun.splitn(2, |byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    let is_whole = lines.next().is_some() || is_all;
    let line = line.trim_ascii_end();
    let word = line.iter().take_while(|byte| !byte.is_ascii_whitespace());
    let is_text = line.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    if !is_text || (!is_whole && !word.clone().all(|byte| is_of_a_word(*byte))) {
        return Some(false);
    }
    if is_whole {
        let version = line.rsplit(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
        let names_http = version.get(..6).is_some_and(|it| it.eq_ignore_ascii_case(b"HTTP/1"));
        return Some(names_http && version.len() < line.len());
    }
    (bytes.len() >= FIRST_LINE_BYTES).then_some(line.is_empty() || word.count() < line.len())
}

/// What methods are made of (RFC 9110 §5.6.2).
fn is_of_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether it begins as a request should: a method in capitals, a space, and a target. So does HTTP/2.
fn begins_request(bytes: &[u8]) -> Option<bool> {
    let method =
        bytes.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
    match (bytes.get(method), bytes.get(method + 1)) {
        (None, _) if method < FIRST_LINE_BYTES => None,
        (Some(b' '), None) if method > 0 => None,
        (Some(b' '), Some(target)) => {
            Some(method > 0 && (*target == b'/' || *target == b'*' || target.is_ascii_alphabetic()))
        }
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_everything_else_by_its_first_bytes() {
        for (bytes, expected) in [
            (&b""[..], None),
            (b"GE", None),
            (b"GET", None),
            (b"GET ", None),
            (b"GET /", Some(true)),
            (b"OPTIONS *", Some(true)),
            (b"GET http", Some(true)),
            (b"M-SEARCH /", Some(true)),
            (b"P", None),
            (b"PR", None),
            (b"PRI ", None),
            (b"PRI * HTTP/2.0\r\n", Some(true)),
            (b"PROPFIND /", Some(true)),
            (b"\x16\x03\x01\x02\x00", Some(false)),
            (b"\xda\xbb\xc2\x00", Some(false)),
            (b"*1\r\n$4", Some(false)),
            (b" GET / HTTP/1.1\r\n", Some(true)),
            (b"GET  / HTTP/1.1\r\nHost: a\r\n", Some(true)),
            (b"GET\t/ HTTP/1.1\r\n", Some(true)),
            (b"\r\n\r\nGET / HTTP/1.1\r\n", Some(true)),
            (b"get / http/1.0\n", Some(true)),
            (b"!#$% / HTTP/1.1\r\n", Some(true)),
            (b"GGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGG / HTTP/1.1\r\n", Some(true)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(true)),
            (b"get key\r\n", Some(false)),
            (b"HTTP/1.1 200 OK\r\n", Some(false)),
            (b"\x16\x03\x01 HTTP/1.1", Some(false)),
            (b"SSH-2.0-x\r\n", Some(false)),
            // What their first line will be may be seen when it has ended.
            (b" GET /", None),
            (b"\r\n", None),
            (b"GET  / HT", None),
            (b"GET\t", None),
            (b"get / http/1.1\r", None),
            (b"GGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGG", None),
            (b"{\"no\": \"HTTP\"}", Some(false)),
            (b"<xml>", Some(false)),
        ] {
            assert_eq!(is_http(bytes, false), expected, "{}", bytes.escape_ascii());
        }
        for (bytes, expected) in [
            (&b" GET / HTTP/1.1"[..], true),
            (b"get\t/ HTTP/1.0", true),
            (b"GET", false),
            (b"QUIT", false),
            (b"", false),
        ] {
            let word = bytes.escape_ascii();
            assert_eq!(is_http(bytes, true), Some(expected), "{word}, and no more");
        }
        let long = |bytes: &[u8], more: u8| [bytes, &vec![more; FIRST_LINE_BYTES][..]].concat();
        assert_eq!(is_http(&long(b"GET  /", b'a'), false), Some(true), "to be refused");
        assert_eq!(is_http(&long(b"", b' '), false), Some(true), "to be refused");
        assert_eq!(is_http(&long(b"GET", b'A'), false), Some(false), "no method");
    }

    #[test]
    fn a_server_that_says_what_it_asks_for_has_not_greeted() {
        for (greeting, expected) in [
            (&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], true),
            (&[0, 0, 18, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100], true),
            (&[0, 0, 18, 4, 1, 0, 0, 0, 0], false),
            (b"220 welcome\r\n", false),
            (b"", false),
        ] {
            assert_eq!(is_asking(greeting), expected, "{}", greeting.escape_ascii());
        }
    }
}
