//! An ordinary HTTP application for tests: answers with its name and address, and with what the next one answers.
//!
//! `application LABEL LISTEN [NEXT_URL PROXY FORWARDED,HEADERS]`. Knows nothing of lanes: it forwards the headers named
//! to it, as an instrumented application would, and prints the `x-test-id` of each request that it takes. Standard library only, so that `rustc` alone builds it, fast enough to
//! stand in a chain under load, and sharing no code with what it tests.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// A head larger than this is a mistake of the test.
const HEAD_BYTES_MAX: usize = 64 * 1024;

struct Application {
    /// What it answers: `Agray[127.0.0.21]`.
    answer: String,
    next: Option<Next>,
}

struct Next {
    url: String,
    host: String,
    proxy: String,
    forwarded: Vec<String>,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |what: &str| {
        arguments.next().ok_or_else(|| io::Error::other(format!("argument {what} is missing")))
    };
    let (label, listen) = (argument("LABEL")?, argument("LISTEN")?);
    let next = match argument("NEXT_URL") {
        Err(_none) => None,
        Ok(url) => {
            let host = url.split('/').nth(2).unwrap_or_default().to_owned();
            let proxy = argument("PROXY")?;
            let forwarded = argument("FORWARDED")?.split(',').map(str::to_owned).collect();
            Some(Next { url, host, proxy, forwarded })
        }
    };
    let listener = TcpListener::bind(&listen)?;
    let ip = listener.local_addr()?.ip();
    let application = Arc::new(Application { answer: format!("{label}[{ip}]"), next });
    println!("{label} listens on {}", listener.local_addr()?);
    for connection in listener.incoming() {
        let (connection, application) = (connection?, Arc::clone(&application));
        thread::spawn(move || {
            // Whoever was connected has gone: that is the end of this connection, and of nothing else.
            let _gone = serve(connection, &application);
        });
    }
    Ok(())
}

/// One connection: requests in turn, each answered before the next is read.
fn serve(mut connection: TcpStream, application: &Application) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut upstream = None;
    let mut bytes = Vec::new();
    loop {
        let Some(head) = read_head(&mut connection, &mut bytes)? else { return Ok(()) };
        let body_length = header(&head, "content-length").and_then(|value| value.parse().ok());
        read_exactly(&mut connection, &mut bytes, body_length.unwrap_or(0))?;
        if let Some(id) = header(&head, "x-test-id") {
            println!("request {id}");
        }
        let (status, body) = match &application.next {
            None => ("200 OK", application.answer.clone()),
            Some(next) => match call(next, &head, &mut upstream) {
                Ok((200, body)) => ("200 OK", format!("{} -> {body}", application.answer)),
                Ok((status, body)) => {
                    ("502 Bad Gateway", format!("{} -> ERROR {status} {body}", application.answer))
                }
                Err(error) => {
                    ("502 Bad Gateway", format!("{} -> ERROR {error}", application.answer))
                }
            },
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        connection.write_all(answer.as_bytes())?;
    }
}

/// Calls the next application through the proxy, over the connection that the last call left open.
fn call(next: &Next, head: &str, kept: &mut Option<TcpStream>) -> io::Result<(u16, String)> {
    let mut request = format!("GET {} HTTP/1.1\r\nhost: {}\r\n", next.url, next.host);
    for name in &next.forwarded {
        if let Some(value) = header(head, name) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    request.push_str("\r\n");
    if let Some(stream) = kept.as_mut() {
        match exchange(stream, &request) {
            // A proxy may close an idle connection; nothing of an answer had come, so it is asked again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => *kept = None,
            Err(error) => {
                *kept = None;
                return Err(error);
            }
            Ok(answer) => return Ok(answer),
        }
    }
    let mut stream = TcpStream::connect(&next.proxy)?;
    stream.set_nodelay(true)?;
    let answer = exchange(&mut stream, &request)?;
    *kept = Some(stream);
    Ok(answer)
}

/// One request and its answer. `ConnectionReset` means that no byte of an answer came.
fn exchange(stream: &mut TcpStream, request: &str) -> io::Result<(u16, String)> {
    let reset = |_error| io::Error::from(io::ErrorKind::ConnectionReset);
    stream.write_all(request.as_bytes()).map_err(reset)?;
    let mut bytes = Vec::new();
    let head = match read_head(stream, &mut bytes) {
        Ok(Some(head)) => head,
        Ok(None) => return Err(io::ErrorKind::ConnectionReset.into()),
        Err(error) if bytes.is_empty() => return Err(reset(error)),
        Err(error) => return Err(io::Error::other(error)),
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = header(&head, "content-length").and_then(|value| value.parse().ok());
    let (Some(status), Some(length)) = (status, length) else {
        return Err(io::Error::other(format!("not an answer of known length: {head}")));
    };
    let body = read_exactly(stream, &mut bytes, length)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Takes a head off the stream; what came after it stays in `bytes`. `None` at an orderly end.
fn read_head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes.drain(..end + 4);
            return Ok(Some(head));
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("head too large"));
        }
        if read_more(stream, bytes)? == 0 {
            return if bytes.is_empty() {
                Ok(None)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
    }
}

fn read_exactly(stream: &mut TcpStream, bytes: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    while bytes.len() < length {
        if read_more(stream, bytes)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes.drain(..length).collect())
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 8 * 1024];
    let count = stream.read(&mut buffer)?;
    bytes.extend_from_slice(&buffer[..count]);
    Ok(count)
}

fn header<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
