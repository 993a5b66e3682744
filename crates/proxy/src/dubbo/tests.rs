//! What is read of frames, by what Dubbo itself writes, and by whatever comes.

use proptest::prelude::*;
use routes::entrance::{Fields as _, Head as _, Name};

use super::{
    answer::{self, Event, status},
    frame::{Came, Frame, FrameHead, HEAD_BYTES, Splitter},
    hessian::{self, Reader, Unreadable},
    invocation::{Invocation, Unread},
    jsonb, properties,
};
use crate::limits::DUBBO_BODY_BYTES_MAX;

/// What Dubbo's own codec writes (3.3.6, Hessian 2): one argument; and many, with a ring of objects, dates, numbers of every
/// width, a string of 33 000 characters with one beyond the first plane across two of its pieces, and an attachment that is
/// an object.
const REQUEST: &[u8] = include_bytes!("../../../../fuzz/seeds/dubbo/request");
const GRAPH: &[u8] = include_bytes!("../../../../fuzz/seeds/dubbo/graph");
/// The first in fastjson2.
const FASTJSON2: &[u8] = include_bytes!("../../../../fuzz/seeds/dubbo/fastjson2");
const HEARTBEAT: &[u8] = include_bytes!("../../../../fuzz/seeds/dubbo/heartbeat");
const READ_ONLY: &[u8] = include_bytes!("../../../../fuzz/seeds/dubbo/read-only");

fn frame(mut bytes: &[u8]) -> Frame {
    match Splitter::default().take(&mut bytes) {
        Ok(Some(Came::Frame(frame))) if bytes.is_empty() => frame,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_dubbo_itself_writes_is_read() {
    for (bytes, attachments) in [(REQUEST, 6), (GRAPH, 7), (FASTJSON2, 6)] {
        let frame = frame(bytes);
        assert!(frame.head.is_request() && frame.head.is_two_way() && !frame.head.is_event());
        assert_eq!(frame.head.id, 258);
        let read = Invocation::read(&frame).unwrap();
        assert_eq!(read.path(), "/io.laneway.samples.contract.ServiceC/buy");
        let baggage: Vec<_> = read.values(Name::Baggage).collect();
        assert_eq!(baggage, [b"lane.trade=gray,user=1"]);
        let parent: Vec<_> = read.values(Name::Traceparent).collect();
        assert_eq!(parent, [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]);
        assert_eq!(read.kept().count(), attachments);
    }
    let mut other = REQUEST.to_vec();
    other[2] = 0xc0 | 21;
    assert_eq!(Invocation::read(&frame(&other)).unwrap_err(), Unread::Serialization(21));
}

#[test]
fn events_are_told_apart_and_answered_as_dubbo_does() {
    let asked = frame(HEARTBEAT);
    assert!(asked.head.is_event() && asked.head.is_two_way());
    assert_eq!(Event::of(&asked), Event::SignOfLife);
    let alive = answer::alive(&asked);
    assert_eq!(alive.bytes(), b"\xda\xbb\x22\x14\0\0\0\0\0\0\x01\x03\0\0\0\x01N");
    let leaving = frame(READ_ONLY);
    assert!(leaving.head.is_event() && !leaving.head.is_two_way());
    assert_eq!(Event::of(&leaving), Event::Leaving);
    assert_eq!(answer::leaving().body(), leaving.body());
    assert_eq!(answer::leaving().head.to_bytes()[..4], leaving.head.to_bytes()[..4]);
    let in_fastjson2 = Frame::new(FrameHead::event(false, 0, 6), b"\0\0\0\x02\x4aR");
    assert_eq!(Event::of(&in_fastjson2), Event::Leaving);
}

/// A request in Hessian 2 with this descriptor, and what follows that.
fn described(descriptor: &[u8], rest: &[u8]) -> Frame {
    let body = [b"\x052.0.2\x01s\x000\x01m".as_slice(), descriptor, rest].concat();
    let mut head = frame(REQUEST).head.to_bytes();
    head[HEAD_BYTES - 4..].copy_from_slice(&(body.len() as u32).to_be_bytes());
    frame(&[&head[..], &body].concat())
}

#[test]
fn what_others_may_read_otherwise_is_not_read() {
    const NONE: &[u8] = b"\x00";
    let one = |attachments: &[u8]| described(NONE, &[b"H", attachments, b"Z"].concat());
    let baggage = |value: &[u8]| one(&[b"\x07baggage", value].concat());
    let fields = |frame: &Frame| {
        Invocation::read(frame)
            .map(|it| it.values(Name::Baggage).map(<[u8]>::to_vec).collect::<Vec<_>>())
    };
    assert_eq!(fields(&baggage(b"\x06lane.x")), Ok(vec![b"lane.x".to_vec()]));
    for (frame, why) in [
        // In pieces, with what no field has, and not as a text: by Java's own reader each is one.
        (baggage(b"R\x00\x05lane.\x01x"), Unread::Text),
        (baggage(b"\x07lane.\tx"), Unread::Text),
        (baggage(b"\x91"), Unread::Text),
        (one(b"R\x00\x03bag\x04gage\x06lane.x"), Unread::Text),
        // A map of Java's has both.
        (one(b"\x07baggage\x06lane.x\x07Baggage\x06lane.y"), Unread::Twice),
        // What is taken for the attachments would be an argument.
        (described(b"R\x00\x01I\x00", b"N\x91H\x07baggage\x06lane.xZ"), Unread::Text),
        (described(b"\x03L1;", b"NH\x07baggage\x06lane.xZ"), Unread::Descriptor),
        (described(b"\x02L;", b"NN"), Unread::Descriptor),
        (described(NONE, b"NH\x07baggage\x06lane.xZ"), Unread::Trailing),
        (described(NONE, b"HZN"), Unread::Trailing),
    ] {
        assert_eq!(fields(&frame), Err(why), "{}", frame.body().escape_ascii());
    }
    // A spelling that says nothing takes nothing from another.
    for spellings in
        [b"\x07baggage\x06lane.x\x07Baggage\x00", b"\x07Baggage\x00\x07baggage\x06lane.x"]
    {
        assert_eq!(fields(&one(spellings)), Ok(vec![b"lane.x".to_vec()]));
    }
    // What says nothing of lanes may be what it likes.
    assert_eq!(fields(&one(b"\x04user\x91\x01aR\x00\x01b\x00")), Ok(Vec::new()));
    assert_eq!(fields(&described(b"\x06La/B_;", b"NN")), Ok(Vec::new()));
}

#[test]
fn an_error_says_its_words_to_the_one_who_asked() {
    let asked = frame(REQUEST);
    let error = answer::error(&asked.head, status::SERVICE_ERROR, "nobody is there");
    assert_eq!((error.head.id, error.head.status), (258, 70));
    assert!(!error.head.is_request() && !answer::is_misrouted(&error));
    assert_eq!(error.body(), b"\x0fnobody is there");
    let words = format!("{}it is base", answer::MISROUTED);
    let refused = answer::error(&asked.head, status::BAD_REQUEST, &words);
    assert!(answer::is_misrouted(&refused));
    assert_eq!(answer::counts_as(&refused), 400);
    let in_fastjson2 = frame(FASTJSON2);
    let refused = answer::error(&in_fastjson2.head, status::BAD_REQUEST, &words);
    assert_eq!(refused.body()[..5], [0, 0, 0, 1 + words.len() as u8, 0x49 + words.len() as u8]);
    assert!(refused.body().ends_with(words.as_bytes()) && answer::is_misrouted(&refused));
    let thrown = Frame::new(in_fastjson2.head.answer(status::OK, 6), &[0, 0, 0, 2, 0xbd, 0]);
    assert_eq!(answer::counts_as(&thrown), 500);
    let thrown = Frame::new(asked.head.answer(status::OK, 1), &[0x90]);
    assert_eq!((answer::counts_as(&thrown), answer::is_misrouted(&thrown)), (500, false));
}

#[test]
fn a_frame_that_is_too_large_is_passed_over_without_being_kept() {
    let head = FrameHead::event(true, 7, DUBBO_BODY_BYTES_MAX as usize + 1);
    let mut splitter = Splitter::default();
    assert_eq!(splitter.take(&mut &head.to_bytes()[..]), Ok(None));
    let piece = vec![0; 1024 * 1024];
    for _ in 0..DUBBO_BODY_BYTES_MAX / piece.len() as u32 {
        assert_eq!(splitter.take(&mut &piece[..]), Ok(None));
    }
    let mut rest = &[&[0][..], HEARTBEAT].concat()[..];
    assert_eq!(splitter.take(&mut rest), Ok(Some(Came::TooLarge(head))));
    assert_eq!(splitter.take(&mut rest), Ok(Some(Came::Frame(frame(HEARTBEAT)))));
}

#[test]
fn values_are_passed_over_to_their_last_byte_and_no_further() {
    for (value, expected) in [
        (&b"N"[..], Ok(())),
        (b"\x05hello", Ok(())),
        (b"\x02\xc3\xa9\xe5\x90\x8d", Ok(())),
        // A character beyond the first plane, in both ways.
        (b"\x02\xed\xa0\xbd\xed\xb8\x80", Ok(())),
        (b"\x02\xf0\x9f\x98\x80", Ok(())),
        (b"\x01\xf0\x9f\x98\x80", Err(Unreadable::Number)),
        (b"R\x00\x01aS\x00\x01b", Ok(())),
        (b"A\x00\x01aB\x00\x01b", Ok(())),
        (b"A\x00\x01a\x21b", Ok(())),
        (b"H\x01aHZ\x01bWZZ", Ok(())),
        (b"H\x01aZ", Err(Unreadable::Tag(b'Z'))),
        (b"M\x01tZ", Ok(())),
        (b"M\x90Z", Ok(())),
        (b"C\x01c\x92\x01x\x01y`\x91\x92", Ok(())),
        (b"C\x01c\x90`", Ok(())),
        (b"C\x01c\x91\x01xO\x90`N", Ok(())),
        (b"`", Err(Unreadable::Number)),
        (b"V\x01[\x92a@", Err(Unreadable::Number)),
        (b"V\x01[\x92@", Err(Unreadable::Tag(b'@'))),
        (b"V\x01[\x92\x90\x91", Ok(())),
        (b"X\x8f", Err(Unreadable::Number)),
        (b"\x7a\x90\x91", Ok(())),
        (b"\x72\x01[\x90\x91", Ok(())),
        (b"Q\x90", Ok(())),
        (b"J\0\0\0\0\0\0\0\0", Ok(())),
        (b"K\0\0\0\0", Ok(())),
        (b"\x5d\0", Ok(())),
        (b"\x5e\0\0", Ok(())),
        (b"\x5f\0\0\0\0", Ok(())),
        (b"@", Err(Unreadable::Tag(b'@'))),
        (b"", Err(Unreadable::Short)),
        (b"\x05hell", Err(Unreadable::Short)),
        (b"I\0\0\0", Err(Unreadable::Short)),
    ] {
        let name = value.escape_ascii();
        let longer = [value, b"NNN"].concat();
        let mut reader = Reader::new(if expected == Ok(()) { &longer } else { value });
        assert_eq!(reader.skip(), expected, "{name}");
        if expected == Ok(()) {
            assert_eq!(reader.at(), value.len(), "{name}");
            let (whole, mut cut) = (value.len(), Reader::new(&value[..value.len() - 1]));
            assert_eq!(cut.skip(), Err(Unreadable::Short), "{name} without byte {whole}");
        }
    }
}

#[test]
fn what_is_too_much_is_refused_and_costs_no_more_than_its_bytes() {
    let deep = vec![0x79; 100_000];
    assert_eq!(Reader::new(&deep).skip(), Err(Unreadable::TooDeep));
    let classes = b"C\x01c\x90".repeat(5_000);
    assert_eq!(Reader::new(&classes).skip(), Err(Unreadable::TooManyClasses));
    // Nothing is as long as it says.
    assert_eq!(Reader::new(b"XI\x7f\xff\xff\xff\x90").skip(), Err(Unreadable::Short));
    assert_eq!(Reader::new(b"C\x01cI\x7f\xff\xff\xff\x01x").skip(), Err(Unreadable::Short));
}

#[test]
fn what_is_written_in_fastjson2_is_read_as_its_own_library_writes() {
    for (value, expected) in [
        (&b"\x49"[..], Ok(Some(&b""[..]))),
        (b"\x4bhi", Ok(Some(b"hi"))),
        (b"\x79\x02hi", Ok(Some(b"hi"))),
        (b"\x7a\x38\x02\xc3\xa9", Ok(Some("é".as_bytes()))),
        (b"\x79\x48\0\0\0\x02hi", Ok(Some(b"hi"))),
        (b"\x7d\x02\0h", Ok(None)),
        (b"\xaf", Ok(None)),
        (b"\xbe\0\0\0\0\0\0\0\x01", Ok(None)),
        (b"\x79\x03hi", Err(Unreadable::Short)),
        (b"\x79\xaf", Err(Unreadable::Number)),
        (b"\xa6\xa5", Err(Unreadable::Tag(0xa6))),
        (b"", Err(Unreadable::Short)),
    ] {
        assert_eq!(jsonb::Reader::new(value).plain(), expected, "{}", value.escape_ascii());
    }
    for text in ["", "a", &"x".repeat(47), &"x".repeat(48), "é", &"名".repeat(100)] {
        let mut bytes = Vec::new();
        jsonb::write_string(text, &mut bytes);
        let mut reader = jsonb::Reader::new(&bytes);
        assert_eq!(reader.plain(), Ok(Some(text.as_bytes())));
        assert_eq!(reader.at(), bytes.len(), "{text}");
    }
    assert_eq!(jsonb::Reader::new(b"\0\0\0\x05abcd").measured(), Err(Unreadable::Short));
}

#[test]
fn a_string_is_written_as_java_reads_it() {
    for text in
        ["", "a", "é", "名", "\u{1f600}", &"x".repeat(31), &"é".repeat(32), &"x".repeat(1024)]
    {
        let mut bytes = Vec::new();
        hessian::write_string(text, &mut bytes);
        let mut reader = Reader::new(&bytes);
        let read = reader.string().unwrap().unwrap();
        assert_eq!(reader.at(), bytes.len(), "{text}");
        if !text.contains('\u{1f600}') {
            assert_eq!(read, text.as_bytes());
        }
    }
    let mut bytes = Vec::new();
    hessian::write_string(&"\u{1f600}".repeat(40_000), &mut bytes);
    assert_eq!((bytes.len(), &bytes[..3]), (3 + 6 * 32_767, &b"S\xff\xfe"[..]));
}

/// Bytes that are a value more often than not.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just(b"N".to_vec()),
        "[a-zé名]{0,40}".prop_map(|text| {
            let mut bytes = Vec::new();
            hessian::write_string(&text, &mut bytes);
            bytes
        }),
        any::<i32>().prop_map(|it| [&b"I"[..], &it.to_be_bytes()].concat()),
        any::<i64>().prop_map(|it| [&b"L"[..], &it.to_be_bytes()].concat()),
        (0x80_u8..=0xbf).prop_map(|it| vec![it]),
        proptest::collection::vec(any::<u8>(), 0..15).prop_map(|it| [
            &[0x20 + it.len() as u8][..],
            &it
        ]
        .concat()),
    ];
    leaf.prop_recursive(6, 64, 7, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..7).prop_map(|it| [
                &[0x78 + it.len() as u8][..],
                &it.concat()
            ]
            .concat()),
            proptest::collection::vec(inner.clone(), 0..7).prop_map(|it| [
                b"W",
                &it.concat()[..],
                b"Z"
            ]
            .concat()),
            proptest::collection::vec((inner.clone(), inner), 0..4).prop_map(|it| {
                let pairs: Vec<u8> = it.into_iter().flat_map(|(k, v)| [k, v].concat()).collect();
                [b"H", &pairs[..], b"Z"].concat()
            }),
        ]
    })
}

/// A request with these arguments.
fn request(arguments: &[Vec<u8>], baggage: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let descriptor = "Ljava/lang/Object;".repeat(arguments.len());
    for text in ["2.0.2", "x.S", "0.0.0", "m", &descriptor] {
        hessian::write_string(text, &mut body);
    }
    arguments.iter().for_each(|it| body.extend_from_slice(it));
    body.push(b'H');
    hessian::write_string("Baggage", &mut body);
    hessian::write_string(baggage, &mut body);
    body.push(b'Z');
    let mut bytes = frame(REQUEST).head.to_bytes().to_vec();
    bytes[12..].copy_from_slice(&(body.len() as u32).to_be_bytes());
    assert_eq!(bytes.len(), HEAD_BYTES);
    [bytes, body].concat()
}

#[test]
fn attachments_that_are_none_are_replaced_whole() {
    let map = FASTJSON2.iter().position(|byte| *byte == jsonb::MAP).unwrap();
    let mut none = FASTJSON2.to_vec();
    none[map] = jsonb::NULL;
    properties::check(&none, map);
}

proptest! {
    #[test]
    fn whatever_comes_means_the_same_however_it_is_cut(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0.0..1.0,
    ) {
        properties::check(&bytes, (bytes.len() as f64 * at) as usize);
        let begun = [frame(REQUEST).bytes(), &bytes].concat();
        properties::check(&begun, (begun.len() as f64 * at) as usize);
    }

    #[test]
    fn a_changed_request_is_no_harm(place in 0..REQUEST.len(), byte in any::<u8>(), cut in 0..REQUEST.len()) {
        let mut bytes = REQUEST.to_vec();
        bytes[place] = byte;
        properties::check(&bytes, cut);
        let mut bytes = FASTJSON2.to_vec();
        bytes[place] = byte;
        properties::check(&bytes, cut);
        let mut bytes = GRAPH.to_vec();
        let place = bytes.len() - 1 - place;
        bytes[place] = byte;
        properties::check(&bytes, cut);
    }

    #[test]
    fn the_context_is_found_behind_any_arguments(
        arguments in proptest::collection::vec(values(), 0..6), cut in 0.0..1.0,
    ) {
        let bytes = request(&arguments, "lane.trade=gray");
        properties::check(&bytes, (bytes.len() as f64 * cut) as usize);
        let frame = frame(&bytes);
        let read = Invocation::read(&frame).unwrap();
        prop_assert_eq!(read.values(Name::Baggage).collect::<Vec<_>>(), [b"lane.trade=gray"]);
        prop_assert_eq!(read.path(), "/x.S/m");
    }
}
