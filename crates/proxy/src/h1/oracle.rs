//! What the standards and our strictness say about requests, written the slow way on whole texts. Shares no code
//! with the parser.

use std::collections::BTreeSet;

/// A request as the slow way understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Understood {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) host: String,
    pub(super) keep_alive: bool,
    /// `None`: chunked.
    pub(super) length: Option<u64>,
    /// Names (lower-case) and values of the fields that are handed on.
    pub(super) fields: Vec<(String, String)>,
}

/// One whole head, ending in an empty line, as an edge must read it; `None` when it must refuse it.
pub(super) fn read(head: &[u8]) -> Option<Understood> {
    // Bytes above ASCII only occur in values; one character each is as good as any.
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let text = text.strip_prefix("\r\n").unwrap_or(&text);
    let text = text.strip_suffix("\r\n\r\n")?;
    let lines: Vec<&str> = text.split("\r\n").collect();
    if lines.iter().any(|line| line.contains('\n') || line.is_empty()) {
        return None;
    }
    let [method, target, version] =
        <[&str; 3]>::try_from(lines[0].split(' ').collect::<Vec<_>>()).ok()?;
    let minor = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        _ => return None,
    };
    if !is_token(method) || method.len() > 32 {
        return None;
    }
    let fields = read_fields(&lines[1..])?;
    let (authority, path, query) = read_target(method, target)?;
    let authority = one_authority(authority, &fields, minor)?;
    let length = one_length(&fields)?;
    let chunked = is_chunked(&fields)?;
    if chunked && (length.is_some() || minor == 0) {
        return None;
    }
    if minor == 1
        && !all(&fields, "expect").iter().all(|it| it.eq_ignore_ascii_case("100-continue"))
    {
        return None;
    }
    let options = connection_options(&fields);
    let has = |option: &str| options.iter().any(|found| found == option);
    Some(Understood {
        method: method.to_owned(),
        path,
        query,
        host: without_dot(host_without_port(&authority)).to_ascii_lowercase(),
        keep_alive: !has("close") && (minor == 1 || (has("keep-alive") && !is_absolute(target))),
        length: if chunked { None } else { Some(length.unwrap_or(0)) },
        fields: handed_on(&fields, &options, minor),
    })
}

fn is_absolute(target: &str) -> bool {
    target.contains("://") && !target.starts_with('/')
}

/// Names (lower-case) and values.
type Fields = Vec<(String, String)>;

fn read_fields(lines: &[&str]) -> Option<Fields> {
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if !is_token(name) || value.chars().any(|c| c != '\t' && (c < ' ' || c == '\u{7f}')) {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    (fields.len() <= 100).then_some(fields)
}

fn all<'f>(fields: &'f Fields, wanted: &str) -> Vec<&'f str> {
    fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect()
}

/// Whom the request is for: one valid host, and the target says no other.
fn one_authority(target: Option<(String, &str)>, fields: &Fields, minor: u8) -> Option<String> {
    let field = match all(fields, "host").as_slice() {
        [only] => Some(*only),
        [] if minor == 0 => None,
        _ => return None,
    };
    if field.is_some_and(|host| !is_host(host)) {
        return None;
    }
    match (target, field) {
        (Some((target, port)), Some(host)) if !is_one_server(&target, host, port) => None,
        (Some((target, _)), _) => Some(target),
        (None, host) => Some(host.unwrap_or_default().to_owned()),
    }
}

/// Whether two hosts with ports mean one server, the port of which is `port` where none is written.
fn is_one_server(one: &str, other: &str, port: &str) -> bool {
    let whole = |authority: &str| {
        let host = host_without_port(authority);
        let written = authority[host.len()..].trim_start_matches(':').trim_start_matches('0');
        let port = if authority.len() == host.len() { port } else { written };
        (without_dot(host).to_ascii_lowercase(), port.to_owned())
    };
    whole(one) == whole(other)
}

/// A name that ends in a dot is the same name.
fn without_dot(host: &str) -> &str {
    if host.len() > 1 { host.strip_suffix('.').unwrap_or(host) } else { host }
}

/// The length announced, if any; all that announce one must agree.
fn one_length(fields: &Fields) -> Option<Option<u64>> {
    let number = |text: &&str| {
        (text.len() <= 19 && text.chars().all(|c| c.is_ascii_digit()))
            .then(|| text.parse().ok())?
            .filter(|length| *length <= i64::MAX as u64)
    };
    let lengths = all(fields, "content-length");
    let numbers: BTreeSet<u64> = lengths.iter().map(number).collect::<Option<_>>()?;
    (numbers.len() <= 1).then(|| numbers.first().copied())
}

fn is_chunked(fields: &Fields) -> Option<bool> {
    match all(fields, "transfer-encoding").as_slice() {
        [] => Some(false),
        [only] if only.eq_ignore_ascii_case("chunked") => Some(true),
        _ => None,
    }
}

fn connection_options(fields: &Fields) -> Vec<String> {
    all(fields, "connection")
        .iter()
        .flat_map(|value| value.split(','))
        .map(|token| token.trim_matches([' ', '\t', '\u{c}']).to_ascii_lowercase())
        .collect()
}

/// Fields that are about one connection.
const HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "proxy-authorization",
];

/// Fields that cannot be named away.
const ESSENTIAL: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "expect",
    "authorization",
    "cookie",
    "baggage",
    "traceparent",
    "tracestate",
    "x-request-id",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "b3",
];

/// Nor can these, by how they begin.
const ESSENTIAL_FAMILIES: &[&str] = &["x-forwarded-", "x-b3-"];

fn handed_on(fields: &Fields, options: &[String], minor: u8) -> Fields {
    let mut seen_length = false;
    let goes_on = |(name, _): &&(String, String)| {
        let first_length = name != "content-length" || !std::mem::replace(&mut seen_length, true);
        let named_away = options.contains(name) && may_be_named_away(name);
        let expects = minor == 0 && name == "expect";
        first_length
            && !expects
            && !HOP.contains(&name.as_str())
            && !named_away
            && !name.contains('_')
    };
    fields.iter().filter(goes_on).cloned().collect()
}

/// Whom a target is for and the port of its scheme, its path, its query.
type TargetParts = (Option<(String, &'static str)>, String, String);

fn may_be_named_away(name: &str) -> bool {
    !ESSENTIAL.contains(&name) && !ESSENTIAL_FAMILIES.iter().any(|family| name.starts_with(family))
}

fn read_target(method: &str, target: &str) -> Option<TargetParts> {
    if target.is_empty()
        || target.len() > 8192
        || target.chars().any(|c| c <= ' ' || c == '\u{7f}' || c == '#')
    {
        return None;
    }
    if method == "CONNECT" {
        let port = target.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        return (is_host(target) && port.is_some_and(|port| port > 0))
            .then(|| (Some((target.to_owned(), "")), String::new(), String::new()));
    }
    if target == "*" {
        return (method == "OPTIONS").then(|| (None, "*".to_owned(), String::new()));
    }
    let (authority, rest) = if target.starts_with('/') {
        (None, target)
    } else {
        let lower = target.to_ascii_lowercase();
        let scheme =
            ["http://", "https://"].into_iter().find(|scheme| lower.starts_with(scheme))?;
        let after = &target[scheme.len()..];
        let end = after.find(['/', '?']).unwrap_or(after.len());
        if !is_host(&after[..end]) {
            return None;
        }
        let port = if scheme == "https://" { "443" } else { "80" };
        (Some((after[..end].to_owned(), port)), &after[end..])
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = if path.is_empty() { "/" } else { path };
    let query: String = query.chars().map(encoded).collect();
    let mut path = one_form(path)?;
    // As it may go on, where it became longer.
    let bytes = path.len() + usize::from(rest.contains('?')) + query.len();
    if !target.is_ascii() && bytes > 8192 {
        return None;
    }
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    Some((authority, path, query))
}

/// The one form of a path but for slashes in a row, `None` when servers would disagree about it.
fn one_form(path: &str) -> Option<String> {
    let mut out = String::new();
    let characters: Vec<char> = path.chars().collect();
    let mut at = 0;
    while at < characters.len() {
        if characters[at] != '%' {
            if characters[at] == '\\' {
                return None;
            }
            out += &encoded(characters[at]);
            at += 1;
            continue;
        }
        let code: String = characters.get(at + 1..at + 3)?.iter().collect();
        if !code.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(&code, 16).ok()?;
        match byte {
            0 | b'/' | b'\\' => return None,
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out += &format!("%{}", code.to_uppercase()),
        }
        at += 3;
    }
    for segment in out.split('/') {
        let name = segment.split(';').next().unwrap_or_default();
        if name == "." || name == ".." {
            return None;
        }
    }
    Some(out)
}

/// A character, or its percent-encoding when it is beyond ASCII.
fn encoded(character: char) -> String {
    if character.is_ascii() {
        return character.to_string();
    }
    format!("%{:02X}", u32::from(character))
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

fn host_without_port(authority: &str) -> &str {
    match authority.rfind(']') {
        Some(end) => &authority[..=end],
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn is_host(authority: &str) -> bool {
    let host = host_without_port(authority);
    let port = &authority[host.len()..];
    let port_is_valid = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| {
            (1..=5).contains(&digits.len())
                && digits.chars().all(|c| c.is_ascii_digit())
                && digits.parse::<u32>().is_ok_and(|port| port <= 65_535)
        });
    let name_is_valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 255
                && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c))
        }
    };
    port_is_valid && name_is_valid
}

/// How long the body of an answer is: `Some(None)` in chunks, `None` until the connection closes. The outer `None` when
/// nobody can tell.
#[allow(clippy::option_option, reason = "three answers, as the standard has them, or none")]
pub(super) fn read_answers_framing(
    head: &[u8],
    status: u16,
    to_head: bool,
) -> Option<Option<Option<u64>>> {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let lines: Vec<&str> = text.strip_suffix("\r\n\r\n")?.split("\r\n").collect();
    let fields = read_fields(&lines[1..])?;
    let (length, chunked) = (one_length(&fields)?, is_chunked(&fields)?);
    if length.is_some() && chunked {
        return None;
    }
    Some(if to_head || status < 200 || status == 204 || status == 304 {
        Some(Some(0))
    } else if chunked {
        Some(None)
    } else {
        length.map(Some)
    })
}

/// A chunked body as a whole, read to its end: the data and the bytes it took, `None` when malformed or unfinished.
pub(super) fn read_chunked(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut data = Vec::new();
    let mut rest = text;
    let line = |rest: &mut &[u8]| -> Option<Vec<u8>> {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = rest[..end].to_vec();
        if line.contains(&b'\n') {
            return None;
        }
        *rest = &rest[end + 2..];
        Some(line)
    };
    loop {
        let size_line = line(&mut rest)?;
        if size_line.len() + 2 > 256 {
            return None;
        }
        let text: String = size_line.iter().map(|byte| char::from(*byte)).collect();
        let (digits, extension) = match text.split_once(';') {
            Some((digits, extension)) => (digits, extension),
            None => (text.as_str(), ""),
        };
        let good =
            (1..=15).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
        if !good || extension.chars().any(|c| c < ' ' || c == '\u{7f}') {
            return None;
        }
        let size = usize::from_str_radix(digits, 16).ok()?;
        if size == 0 {
            break;
        }
        if rest.len() < size + 2 || &rest[size..size + 2] != b"\r\n" {
            return None;
        }
        data.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
    for _ in 0..=32 {
        let trailer = line(&mut rest)?;
        if trailer.is_empty() {
            return Some((data, text.len() - rest.len()));
        }
        let text: String = trailer.iter().map(|byte| char::from(*byte)).collect();
        let (name, value) = text.split_once(':')?;
        if !is_token(name) || value.chars().any(|c| c != '\t' && (c < ' ' || c == '\u{7f}')) {
            return None;
        }
    }
    None
}
