//! What holds for every bytes whatever: property tests and fuzzers call these with theirs. They panic where it does not.

use routes::entrance::{Fields as _, Head as _, Name, Written};

use super::{
    frame::{Came, Frame, NoFrame, Splitter},
    invocation::{self, Invocation, Unread},
};

/// Frames of bytes that arrive in two pieces, and how they end: in the midst of one, or in no frame.
fn frames(bytes: &[u8], cut: usize) -> (Vec<Came>, Result<bool, NoFrame>) {
    let mut splitter = Splitter::default();
    let mut came = Vec::new();
    for mut piece in [&bytes[..cut], &bytes[cut..]] {
        loop {
            match splitter.take(&mut piece) {
                Ok(Some(next)) => came.push(next),
                Ok(None) => break,
                Err(error) => return (came, Err(error)),
            }
        }
        assert!(piece.is_empty(), "all is taken where a frame is not whole");
    }
    let is_within = splitter.is_within();
    (came, Ok(is_within))
}

/// Frames mean the same however they are cut; what is read of one is the same with more attachments, and these with it.
pub(crate) fn check(bytes: &[u8], cut: usize) {
    let whole = frames(bytes, bytes.len());
    assert_eq!(frames(bytes, cut), whole, "cut at {cut}");
    let mut rebuilt = Vec::new();
    for came in whole.0 {
        let Came::Frame(frame) = came else { return };
        if frame.head.is_request() && !frame.head.is_event() {
            check_request(&frame);
        }
        let before = rebuilt.len();
        rebuilt.extend_from_slice(frame.bytes());
        assert_eq!(bytes[before..rebuilt.len()], rebuilt[before..], "a frame goes on as it came");
    }
}

fn check_request(frame: &Frame) {
    let Ok(read) = Invocation::read(frame) else { return };
    let kept: Vec<_> = read.kept().map(|it| (it.written.to_vec(), it.value.to_vec())).collect();
    let path = read.path().to_owned();
    // Restored members, as an entrance writes them.
    let mut written = Written::default();
    let mut read = read;
    routes::entrance::write_restored(&mut read, b"lane.trade=blue", &mut written);
    let mut longer = frame.clone();
    invocation::apply(&mut longer, read.into_changes(&written).expect("there is something"));
    let again = match Invocation::read(&longer) {
        Err(Unread::TooMany) => return,
        again => again.expect("it can be read with more"),
    };
    assert_eq!(again.path(), path);
    let baggage = again.values(Name::Baggage).next_back().expect("it was added");
    assert!(baggage.starts_with(b"lane.trade=blue"), "{}", baggage.escape_ascii());
    let is_other = |name: &[u8]| Name::of(name) != Name::Baggage;
    let others: Vec<_> = again.kept().filter(|it| is_other(it.written)).collect();
    let expected = kept.iter().filter(|(name, _)| is_other(name));
    assert!(
        others.iter().map(|it| (it.written, it.value)).eq(expected.map(|(n, v)| (&n[..], &v[..]))),
        "the others stay as they were"
    );
}
