//! What holds for every text whatever: property tests and fuzzers call these with theirs. They panic where it does not.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, LazyLock},
};

use lanes::{
    Context, Directory, Entrance, Group, GroupName, GroupSpec, LaneSpec, Snapshot, Tag,
    condition::{Condition, Operator, Parameter},
    group::{EntranceSpec, Entry, Fallback, Meet},
};
use routes::{
    Edits,
    entrance::{
        self, CorrelationHeaders, Decided, Fields as _, Forwarded, Head as _, Name, Policy, Written,
    },
};

use super::{
    body::{Body, BodyError},
    fields::Framing,
    head::{FIELDS_MAX, HeadError},
    oracle::{self, Understood},
    request::{Received, RequestHead, RequestPolicy},
    response::ResponseHead,
    target::{Form, PathPolicy},
    write::{write_kept, write_request},
};

pub(crate) const EDGE: RequestPolicy =
    RequestPolicy { path: PathPolicy::Strict, drop_underscored: true };

/// Reads a head that arrives in pieces cut at `cuts`.
pub(super) fn read_in_pieces(
    bytes: &[u8],
    cuts: &[usize],
) -> Result<Option<RequestHead>, HeadError> {
    let mut head = RequestHead::default();
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        if head.advance(&bytes[..cut], EDGE)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

pub(super) fn understood(head: &mut RequestHead, bytes: &[u8]) -> Understood {
    // As most listeners want it.
    Received::new(head, bytes).merge_slashes();
    Understood {
        method: latin1(head.method.of(bytes)),
        path: latin1(head.path_sent(bytes)),
        query: latin1(head.query_sent(bytes).unwrap_or_default()),
        host: Received::new(head, bytes).host().to_owned(),
        keep_alive: head.keep_alive,
        length: match head.framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
            Framing::UntilClose => panic!("requests have no such framing"),
        },
        fields: kept(head.fields(), bytes),
    }
}

/// Names, in lower case, and values of the fields that go on.
fn kept(fields: &[super::head::Field], bytes: &[u8]) -> Vec<(String, String)> {
    let kept = fields.iter().filter(|field| field.keep);
    kept.map(|field| {
        (latin1(field.name_of(bytes)).to_ascii_lowercase(), latin1(field.value.of(bytes)))
    })
    .collect()
}

/// Every byte is a character.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// A request: read in two pieces as the slow way reads it at once; written again it means the same; and an edge decides
/// nothing by what it does not believe.
pub(crate) fn check_request(bytes: &[u8], cut: usize) {
    let cut = cut % (bytes.len() + 1);
    match read_in_pieces(bytes, &[cut]) {
        Ok(Some(mut head)) => {
            let meant = understood(&mut head, bytes);
            let expected = oracle::read(&bytes[..head.head_bytes]);
            assert_eq!(Some(&meant), expected.as_ref(), "{}", bytes.escape_ascii());
            check_written_again(&head, bytes, &meant);
            check_nothing_unbelieved_decides(&mut head, bytes);
        }
        // The head was refused, or would be with whatever followed: no prefix may be good for the slow way, which does
        // not count what `Connection` names.
        Err(HeadError::Connection) => {}
        Err(error) => {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let read = oracle::read(&bytes[..end + 4]);
                assert_eq!(read, None, "{} refused for {error}", bytes.escape_ascii());
            }
        }
        // Whatever is read is, with an empty line, a head or none: the reader may still wait for its end.
        Ok(None) => {
            let lines = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
            let ends = lines.windows(4).any(|four| four == b"\r\n\r\n");
            assert!(!ends, "{} ends in an empty line", bytes.escape_ascii());
        }
    }
}

fn check_written_again(head: &RequestHead, bytes: &[u8], meant: &Understood) {
    // What is refused everywhere at an edge, and what has no host to be sent to.
    if head.form == Form::Authority || head.authority.is_empty() {
        return;
    }
    let mut host = Written::default();
    let has_host = head.fields().iter().any(|field| field.name == Name::Host);
    if !has_host {
        let mut head = read_in_pieces(bytes, &[]).ok().flatten().expect("read before");
        entrance::write_host(&mut Received::new(&mut head, bytes), None, "service", &mut host);
    }
    let mut text = Vec::new();
    write_request(head, bytes, &host, &Edits::NONE, &mut text);
    let mut again = match read_in_pieces(&text, &[]) {
        Ok(Some(again)) => again,
        // With its host it is one field more, where it had as many as may be.
        Err(HeadError::TooManyFields) if !has_host => {
            let fields = text.windows(2).filter(|two| two == b"\r\n").count() - 2;
            assert!(fields > FIELDS_MAX, "{}", text.escape_ascii());
            return;
        }
        again => panic!("{} became {}, {again:?}", bytes.escape_ascii(), text.escape_ascii()),
    };
    assert_eq!(again.head_bytes, text.len(), "{} is one head", text.escape_ascii());
    assert_eq!(again.upgrade.map(|it| it.of(&text)), head.upgrade.map(|it| it.of(bytes)));
    let read = understood(&mut again, &text);
    let mut expected = meant.fields.clone();
    if !has_host {
        expected.insert(0, ("host".to_owned(), latin1(head.authority.of(bytes))));
    }
    // What it says of the connection is said anew for the next.
    let meant = Understood { keep_alive: true, fields: expected, ..meant.clone() };
    assert_eq!(read, meant, "{} became {}", bytes.escape_ascii(), text.escape_ascii());
}

/// What an edge that believes nobody takes for its own: no lane may be entered for what stands there.
const UNBELIEVED: &[&str] = &[
    "traceparent",
    "tracestate",
    "x-request-id",
    "b3",
    "x-b3-traceid",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-real-ip",
    "proxy-authorization",
    "keep-alive",
    "transfer-encoding",
];

/// For each of them, and for lane members of `baggage`, a group whose lane is entered by it.
static TEMPTING: LazyLock<Snapshot> = LazyLock::new(|| {
    let exists = |name: &str| (Parameter::Header(name.to_owned()), Operator::Exists);
    let conditions = UNBELIEVED.iter().map(|name| exists(name));
    let claims = Operator::Regex("(.*,\\s*)?lane\\.[a-z0-9-]+\\s*=.*".to_owned());
    let conditions = conditions.chain([(Parameter::Header("baggage".to_owned()), claims)]);
    let groups = conditions.enumerate().map(|(at, (parameter, operator))| {
        let spec = GroupSpec {
            name: GroupName::parse(&format!("g{at}")).expect("a name"),
            entrances: vec![EntranceSpec::Gateway { name: "edge".to_owned(), routes: None }],
            applications: vec!["nobody".to_owned()],
            lanes: vec![LaneSpec {
                tag: Tag::parse("gray").ok().flatten().expect("a tag"),
                enabled: true,
                admitting: true,
                paused: false,
                priority: 0,
                entry: Entry::Content {
                    meet: Meet::All,
                    conditions: vec![Condition { parameter, operator }],
                },
                fallback: Fallback::Then(Vec::new()),
                switched_off: Vec::new(),
            }],
        };
        Arc::new(Group::compile(spec).expect("a group"))
    });
    Snapshot::new(groups.collect(), Directory::new(true))
});

fn check_nothing_unbelieved_decides(head: &mut RequestHead, bytes: &[u8]) {
    let policy = Policy {
        is_trusted: false,
        forwarded: Forwarded::Appended { trusted_hops: 0 },
        merge_slashes: true,
        scheme: "http",
        correlation: &CorrelationHeaders::default(),
    };
    let (peer, snapshot) = (IpAddr::from(Ipv4Addr::LOCALHOST), &*TEMPTING);
    let mut head = Received::new(head, bytes);
    let believed = entrance::believe(&mut head, peer, policy);
    let mut context = policy.context(snapshot, &head);
    let entrance = Entrance::Gateway { gateway: "edge", route: None };
    snapshot.enter(entrance, &believed.seen(&head), &mut || [0; 16], &mut context, &mut ());
    let lanes = context.members().iter().filter(|member| member.lane.is_some()).count();
    assert_eq!(lanes, 0, "{} entered {context:?}", bytes.escape_ascii());
    let mut written = Written::default();
    let decided = Decided { snapshot, context: &Context::default(), peer };
    entrance::write(&mut head, policy, decided, || [7; 16], &mut written);
    let left = head.values(Name::Baggage).chain(written.value(Name::Baggage));
    for value in left {
        assert!(!lanes::baggage::has_lane_members(value), "{}", bytes.escape_ascii());
    }
}

/// An answer: however it is cut it means the same, its framing is what a slow reading of its fields says, and written
/// again it means the same.
pub(crate) fn check_response(bytes: &[u8], cut: usize, to_head: bool) {
    let read = |cuts: &[usize], bytes: &[u8]| {
        let mut head = ResponseHead::default();
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            if head.advance(&bytes[..cut], to_head)? {
                return Ok(Some(head));
            }
        }
        Ok::<_, HeadError>(None)
    };
    let outcome = read(&[cut % (bytes.len() + 1)], bytes);
    let whole = read(&[], bytes);
    let said = |outcome: &Result<Option<ResponseHead>, HeadError>| {
        let meant = |head: &ResponseHead| {
            (
                head.status,
                head.framing,
                head.keep_alive,
                head.head_bytes,
                kept(head.fields(), bytes),
            )
        };
        outcome.as_ref().map(|head| head.as_ref().map(meant)).map_err(|error| *error)
    };
    assert_eq!(said(&outcome), said(&whole), "{}", bytes.escape_ascii());
    let Ok(Some(head)) = whole else { return };
    let framing = oracle::read_answers_framing(&bytes[..head.head_bytes], head.status, to_head);
    let says = match head.framing {
        Framing::None => Some(Some(0)),
        Framing::Length(bytes) => Some(Some(bytes)),
        Framing::Chunked => Some(None),
        Framing::UntilClose => None,
    };
    assert_eq!(Some(says), framing, "{}", bytes.escape_ascii());
    let mut text = b"HTTP/1.1 ".to_vec();
    text.extend_from_slice(head.status_text.of(bytes));
    text.extend_from_slice(b"\r\n");
    write_kept(bytes, head.fields(), &mut text);
    if head.framing == Framing::Chunked {
        text.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    text.extend_from_slice(b"\r\n");
    let Ok(Some(again)) = read(&[], &text) else {
        panic!("{} became {}", bytes.escape_ascii(), text.escape_ascii());
    };
    assert_eq!(again.head_bytes, text.len());
    assert_eq!((again.status, again.framing), (head.status, head.framing));
    assert_eq!(kept(again.fields(), &text), kept(head.fields(), bytes));
}

/// Follows a body that arrives in pieces cut at `cuts`: what goes on, how much was consumed, whether it ended.
pub(super) fn follow(
    framing: Framing,
    keep_framing: bool,
    bytes: &[u8],
    cuts: &[usize],
) -> Result<(Vec<u8>, usize, bool), BodyError> {
    let mut body = Body::new(framing, keep_framing);
    let (mut out, mut waiting, mut consumed, mut start) = (Vec::new(), Vec::new(), 0, 0);
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        waiting.extend_from_slice(&bytes[start..cut]);
        start = cut;
        let step = body.step(&mut waiting)?;
        out.extend_from_slice(&waiting[..step.keep]);
        waiting.drain(..step.consumed);
        consumed += step.consumed;
        if step.done {
            return Ok((out, consumed, true));
        }
    }
    Ok((out, consumed, false))
}

/// A chunked body: its data and its end are where the slow way finds them, and what goes on with its framing is the same
/// body, and stays as it is the next time.
pub(crate) fn check_chunked(bytes: &[u8], cut: usize) {
    let cuts = [cut % (bytes.len() + 1)];
    let expected = oracle::read_chunked(bytes);
    let data = match follow(Framing::Chunked, false, bytes, &cuts) {
        Ok((data, consumed, true)) => Some((data, consumed)),
        Ok((_, _, false)) | Err(_) => None,
    };
    assert_eq!(data, expected, "{}", bytes.escape_ascii());
    let Some((data, consumed)) = data else { return };
    let framed = follow(Framing::Chunked, true, bytes, &cuts);
    let Ok((framed, taken, true)) = framed else {
        panic!("{} is a body, and {framed:?}", bytes.escape_ascii());
    };
    assert_eq!(taken, consumed, "{}", bytes.escape_ascii());
    let whole = framed.len();
    assert_eq!(oracle::read_chunked(&framed), Some((data, whole)), "{}", framed.escape_ascii());
    let again = follow(Framing::Chunked, true, &framed, &cuts.map(|cut| cut.min(whole)));
    assert_eq!(again, Ok((framed, whole, true)), "{}", bytes.escape_ascii());
}
