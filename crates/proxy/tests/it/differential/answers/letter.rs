//! What a client that reads by the letter (RFC 9112) makes of the answers on its connection. What it would have to guess is
//! an error. It shares no code with the proxy.

use super::Answer;

/// One answer to one request, with those that came before it and were not the last word.
#[derive(Debug)]
pub(super) struct Piece {
    /// All of its bytes.
    pub(super) bytes: Vec<u8>,
    /// `None`: it breaks off.
    pub(super) answer: Option<Answer>,
    /// Nothing follows on this connection.
    pub(super) closes: bool,
    /// Its head says how long a body is.
    pub(super) is_framed: bool,
    /// Where, if it does.
    pub(super) breaks_off: Option<BreaksOff>,
    /// Statuses of the interim answers before it.
    pub(super) interim: Vec<u16>,
}

/// Where an answer breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreaksOff {
    /// Something of it is missing, and whoever reads on sees it.
    Amid,
    /// All of its body is there, and not all lines that follow.
    BehindBody,
    /// Nothing but a reset says so.
    ByReset,
}

/// How a body ends.
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// A head that can be read in one way.
struct Head {
    status: u16,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    framing: Framing,
    closes: bool,
}

/// Reads what came on a connection to requests with these methods. `was_reset`: it did not end in order.
pub(super) fn read(bytes: &[u8], methods: &[&str], was_reset: bool) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for method in methods {
        if rest.is_empty() || pieces.last().is_some_and(|last: &Piece| last.closes) {
            break;
        }
        let (piece, behind) = read_one(rest, *method == "HEAD", was_reset)?;
        pieces.push(piece);
        rest = behind;
    }
    if rest.is_empty() {
        Ok(pieces)
    } else {
        Err(format!("more than was asked for: {}", rest.escape_ascii()))
    }
}

fn read_one(bytes: &[u8], is_head: bool, was_reset: bool) -> Result<(Piece, &[u8]), String> {
    let (mut rest, mut interim) = (bytes, Vec::new());
    let broken = |breaks_off, interim| {
        let (bytes, breaks_off) = (bytes.to_vec(), Some(breaks_off));
        let piece =
            Piece { bytes, answer: None, closes: true, is_framed: true, breaks_off, interim };
        (piece, &[][..])
    };
    let head = loop {
        let Some((head, behind)) = split_at(rest, b"\r\n\r\n") else {
            return Ok(broken(BreaksOff::Amid, interim));
        };
        rest = behind;
        let head = read_head(head)?;
        match head.status {
            101 => return Err("another protocol that nobody asked for".to_owned()),
            100..=199 if matches!(head.framing, Framing::UntilClose) => interim.push(head.status),
            100..=199 => return Err("an interim answer with a body".to_owned()),
            _ => break head,
        }
    };
    let is_framed = !matches!(head.framing, Framing::UntilClose);
    let has_body = !(is_head || matches!(head.status, 204 | 304));
    let body = match head.framing {
        _ if !has_body => Ok((Vec::new(), rest)),
        Framing::Length(bytes) => {
            let body = rest.split_at_checked(bytes).ok_or(BreaksOff::Amid);
            body.map(|(body, behind)| (body.to_vec(), behind))
        }
        Framing::Chunked => read_chunks(rest)?,
        Framing::UntilClose if !head.closes => {
            return Err("until the end, and says nothing of the end".to_owned());
        }
        Framing::UntilClose if was_reset => Err(BreaksOff::ByReset),
        Framing::UntilClose => Ok((rest.to_vec(), &[][..])),
    };
    let (body, behind) = match body {
        Ok(body) => body,
        Err(breaks_off) => return Ok(broken(breaks_off, interim)),
    };
    let Head { status, fields, closes, .. } = head;
    let read = bytes[..bytes.len() - behind.len()].to_vec();
    let answer = Some(Answer::new(status, &body, fields.into_iter()));
    let piece = Piece { bytes: read, answer, closes, is_framed, breaks_off: None, interim };
    Ok((piece, behind))
}

fn read_head(head: &[u8]) -> Result<Head, String> {
    let shown = || head.escape_ascii().to_string();
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| match line {
        [line @ .., b'\r'] => line,
        line => line,
    });
    let is_printable = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if head.iter().filter(|byte| **byte == b'\n').count()
        != head.windows(2).filter(|two| *two == b"\r\n").count()
    {
        return Err(format!("a line that ends otherwise: {}", shown()));
    }
    let line = lines.next().unwrap_or_default();
    let status = line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.split_at_checked(3));
    let Some((digits, [b' ', reason @ ..])) = status else {
        return Err(format!("a first line of another form: {}", shown()));
    };
    if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
        return Err(format!("a status that is none: {}", shown()));
    }
    let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    let mut fields = Vec::new();
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':');
        let (name, value) = at.map_or((line, &[][..]), |at| (&line[..at], &line[at + 1..]));
        let is_token =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if at.is_none() || name.is_empty() || !name.iter().all(is_token) {
            return Err(format!("a field that is none: {}", shown()));
        }
        if !value.iter().all(is_printable) {
            return Err(format!("a value with control characters: {}", shown()));
        }
        fields.push((name.to_ascii_lowercase(), value.trim_ascii().to_vec()));
    }
    if !reason.iter().all(is_printable) {
        return Err(format!("a reason with control characters: {}", shown()));
    }
    let framing = framing(&fields).ok_or_else(|| format!("framed in two ways: {}", shown()))?;
    let closes = fields
        .iter()
        .any(|(name, value)| name == b"connection" && value.eq_ignore_ascii_case(b"close"));
    Ok(Head { status, fields, framing, closes })
}

/// `None`: by more than one field, or by one that may be read otherwise.
fn framing(fields: &[(Vec<u8>, Vec<u8>)]) -> Option<Framing> {
    let of = |wanted: &str| {
        let all = fields.iter().filter(|(name, _)| name == wanted.as_bytes());
        all.map(|(_, value)| &value[..]).collect::<Vec<_>>()
    };
    match (&of("content-length")[..], &of("transfer-encoding")[..]) {
        ([], []) => Some(Framing::UntilClose),
        ([value], []) => {
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let number = String::from_utf8_lossy(value);
            is_number.then(|| number.parse().ok().map(Framing::Length))?
        }
        ([], [b"chunked"]) => Some(Framing::Chunked),
        _ => None,
    }
}

/// A body, and what is behind it; or where it breaks off.
type Body<'b> = Result<(Vec<u8>, &'b [u8]), BreaksOff>;

fn read_chunks(mut rest: &[u8]) -> Result<Body<'_>, String> {
    let mut body = Vec::new();
    loop {
        let Some((line, behind)) = split_at(rest, b"\r\n") else { return Ok(Err(BreaksOff::Amid)) };
        let is_size = !line.is_empty() && line.iter().all(u8::is_ascii_hexdigit);
        let size = usize::from_str_radix(&String::from_utf8_lossy(line), 16);
        let (true, Ok(size)) = (is_size, size) else {
            return Err(format!("a size that is none: {}", line.escape_ascii()));
        };
        if size == 0 {
            rest = behind;
            break;
        }
        let Some((chunk, behind)) = behind.split_at_checked(size) else {
            return Ok(Err(BreaksOff::Amid));
        };
        body.extend_from_slice(chunk);
        rest = match behind {
            [b'\r', b'\n', behind @ ..] => behind,
            [] | [b'\r'] => return Ok(Err(BreaksOff::Amid)),
            _ => return Err(format!("a chunk of another size: {}", behind.escape_ascii())),
        };
    }
    // Lines behind it, and an empty one.
    loop {
        let Some((line, behind)) = split_at(rest, b"\r\n") else {
            return Ok(Err(BreaksOff::BehindBody));
        };
        rest = behind;
        if line.is_empty() {
            return Ok(Ok((body, rest)));
        }
        if line.contains(&b'\n') || !line.contains(&b':') || line[0].is_ascii_whitespace() {
            return Err(format!("a field that is none behind a body: {}", line.escape_ascii()));
        }
    }
}

/// What is before `end`, and what behind it.
fn split_at<'b>(bytes: &'b [u8], end: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(end.len()).position(|window| window == end)?;
    Some((&bytes[..at], &bytes[at + end.len()..]))
}

#[test]
fn what_must_be_guessed_is_told() {
    let statuses = |text: &str| {
        let read = read(text.as_bytes(), &["GET", "HEAD", "GET"], false);
        read.map(|pieces| {
            pieces.into_iter().map(|it| it.answer.map(|it| it.status)).collect::<Vec<_>>()
        })
    };
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
    let chunked = "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n";
    let hint = "HTTP/1.1 103 x\r\nlink: a\r\n\r\n";
    assert_eq!(statuses(&format!("{ok}ab{ok}{hint}{ok}ab")), Ok(vec![Some(200); 3]));
    assert_eq!(statuses(&format!("{chunked}2\r\nab\r\n0\r\na: b\r\n\r\n")), Ok(vec![Some(200)]));
    assert_eq!(statuses("HTTP/1.1 200 x\r\nconnection: close\r\n\r\nab"), Ok(vec![Some(200)]));
    for broken in [&format!("{ok}a"), &format!("{chunked}2\r\nab\r\n"), &format!("{hint}HTTP/1.1")]
    {
        assert_eq!(statuses(broken), Ok(vec![None]), "{broken}");
    }
    for odd in [
        format!("{ok}ab{ok}{ok}abc"),
        "HTTP/1.1 200 x\r\n\r\nab".to_owned(),
        ok.replace("content-length: 2", "content-length: 2\r\ntransfer-encoding: chunked"),
        ok.replace("OK\r\n", "OK\n"),
        ok.replace(": 2", ": +2"),
        ok.replace("content-length", "content_length"),
        ok.replace("200", "20"),
        ok.replace("200", "101"),
        ok.replace("OK", "O\0K"),
        ok.replace("\r\n\r\n", "\r\n folded\r\n\r\n"),
        format!("{chunked}2;a\r\nab\r\n0\r\n\r\n"),
        format!("{chunked}2\r\nabc\r\n0\r\n\r\n"),
        hint.replace("link: a", "content-length: 1"),
    ] {
        assert!(statuses(&odd).is_err(), "{odd}: {:?}", statuses(&odd));
    }
}
