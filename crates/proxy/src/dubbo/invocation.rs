//! What a request asks for, as far as its lane is concerned: which service and method, and its attachments. They are read as a
//! head of HTTP is, by the same functions.

use std::{ops::Range, time::Duration};

use routes::entrance::{FIELDS_MAX, Field, Fields, Head, Name, Written};

use super::{
    frame::{Frame, HESSIAN2},
    hessian::{self, Unreadable},
    jsonb::{self, FASTJSON2},
};

/// Arguments of one method at most; a method of Java has 255.
const ARGUMENTS_MAX: usize = 255;

/// The attachment that says how long a caller waits, in milliseconds.
const TIMEOUT: &str = "timeout";

/// Why nothing is known of a request but that it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    #[error("it is in serialization {0}, and Hessian 2 and fastjson2 are read")]
    Serialization(u8),
    #[error("its body: {0}")]
    Body(#[from] Unreadable),
    #[error("its parameters are described as no method's")]
    Descriptor,
    #[error("more than {FIELDS_MAX} attachments")]
    TooMany,
    /// In pieces, in another encoding, or with what could be in no field of HTTP: others might read it otherwise.
    #[error("a text of it is not written plainly")]
    Text,
    #[error("an attachment that says which requests belong together is there in two spellings")]
    Twice,
    #[error("something follows its attachments")]
    Trailing,
}

/// A request, read.
#[derive(Debug)]
pub(crate) struct Invocation<'b> {
    path: String,
    fields: Vec<Field<'b>>,
    /// Keys of attachments that are to say nothing any more.
    dropped: Vec<&'b [u8]>,
    /// Where more can be put; nowhere where nothing was read.
    ending: Option<Ending>,
    is_judged: bool,
}

/// What is put into a request.
#[derive(Debug)]
pub(crate) struct Changes {
    ending: Ending,
    /// Keys and values. What is there already under the same key counts no more, as a map reads them.
    entries: Vec<u8>,
}

/// Where attachments can be added: instead of these bytes of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ending {
    place: Range<usize>,
    /// The place is the end of a map; else there is none.
    has_map: bool,
    written_in: WrittenIn,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum WrittenIn {
    Hessian2,
    /// All attachments are these bytes, with their length before them.
    Jsonb(Range<usize>),
}

impl WrittenIn {
    fn write(&self, text: &str, out: &mut Vec<u8>) {
        match self {
            Self::Hessian2 => hessian::write_string(text, out),
            Self::Jsonb(_) => jsonb::write_string(text, out),
        }
    }
}

/// What is read of a request.
struct Read<'b> {
    path: &'b [u8],
    method: &'b [u8],
    fields: Vec<Field<'b>>,
    ending: Ending,
}

impl<'b> Invocation<'b> {
    /// Reads a request whose frame is `frame`.
    pub(crate) fn read(frame: &'b Frame) -> Result<Self, Unread> {
        let Read { path, method, fields, ending } = match frame.head.serialization() {
            HESSIAN2 => read_hessian(frame.body())?,
            FASTJSON2 => read_jsonb(frame.body())?,
            other => return Err(Unread::Serialization(other)),
        };
        let [path, method] = [path, method].map(String::from_utf8_lossy);
        let path = format!("/{path}/{method}");
        let (dropped, ending) = (Vec::new(), Some(ending));
        Ok(Self { path, fields, dropped, ending, is_judged: false })
    }

    /// One of which nothing could be read.
    pub(crate) fn unread() -> Self {
        let (path, fields, dropped) = ("/".to_owned(), Vec::new(), Vec::new());
        Self { path, fields, dropped, ending: None, is_judged: false }
    }

    /// How long its caller waits for an answer, where it says so.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let value = self.fields.iter().find(|field| field.is_named(TIMEOUT))?.value;
        let text = std::str::from_utf8(value).ok()?;
        text.parse().ok().map(Duration::from_millis)
    }

    /// What is put into it: what is written for it, and that what was dropped says nothing.
    pub(crate) fn into_changes(self, written: &Written) -> Option<Changes> {
        let ending = self.ending?;
        let mut entries = Vec::new();
        let mut add = |key: &str, value: &str| {
            ending.written_in.write(key, &mut entries);
            ending.written_in.write(value, &mut entries);
        };
        for key in self.dropped {
            add(&String::from_utf8_lossy(key), "");
        }
        for (name, value) in written.iter() {
            // The others are for HTTP.
            let of_the_context = [Name::Baggage, Name::Traceparent, Name::RequestId, Name::Sw8];
            if of_the_context.contains(&Name::of(name.as_bytes())) {
                add(name, &String::from_utf8_lossy(value));
            }
        }
        (!entries.is_empty()).then_some(Changes { ending, entries })
    }
}

/// How many there are, by their descriptor: `Ljava/lang/String;I[J`.
fn parameters(descriptor: &[u8]) -> Option<usize> {
    let (mut left, mut count) = (descriptor, 0);
    while let [first, rest @ ..] = left {
        left = match first {
            b'[' if !rest.is_empty() => {
                left = rest;
                continue;
            }
            b'L' => {
                let (class, rest) = rest.split_at(rest.iter().position(|byte| *byte == b';')?);
                if !is_class(class) {
                    return None;
                }
                &rest[1..]
            }
            b'V' | b'Z' | b'B' | b'C' | b'D' | b'F' | b'I' | b'J' | b'S' => rest,
            _ => return None,
        };
        count += 1;
    }
    (count <= ARGUMENTS_MAX).then_some(count)
}

/// Whether Dubbo finds a class there: others it passes over, and so has fewer parameters.
fn is_class(name: &[u8]) -> bool {
    let is_identifier = |part: &[u8]| {
        let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$');
        part.first().is_some_and(is_letter)
            && part.iter().all(|byte| is_letter(byte) || byte.is_ascii_digit())
    };
    name.split(|byte| *byte == b'/').all(is_identifier)
}

fn read_hessian(body: &[u8]) -> Result<Read<'_>, Unread> {
    let mut reader = hessian::Reader::new(body);
    let mut text = || reader.string()?.ok_or(Unread::Text);
    let [_dubbo, path, _version, method] = [text()?, text()?, text()?, text()?];
    let arguments = parameters(text()?).ok_or(Unread::Descriptor)?;
    for _ in 0..arguments {
        reader.skip()?;
    }
    let mut fields = Vec::new();
    let ended = |place, has_map| Ending { place, has_map, written_in: WrittenIn::Hessian2 };
    let begin = reader.at();
    if reader.peek()? == b'N' {
        nothing_follows(body, begin + 1)?;
        return Ok(Read { path, method, fields, ending: ended(begin..begin + 1, false) });
    }
    reader.begin_map()?;
    for _ in 0..=FIELDS_MAX {
        let at = reader.at();
        if reader.end()? {
            nothing_follows(body, reader.at())?;
            return Ok(Read { path, method, fields, ending: ended(at..at, true) });
        }
        let (name, value) = (reader.plain()?, reader.plain()?);
        add_field(&mut fields, name, value)?;
    }
    Err(Unread::TooMany)
}

fn read_jsonb(body: &[u8]) -> Result<Read<'_>, Unread> {
    let mut reader = jsonb::Reader::new(body);
    let mut text = || {
        let value = reader.measured()?;
        if value == [jsonb::NULL] {
            return Ok(&[][..]);
        }
        jsonb::Reader::new(value).plain()?.ok_or(Unread::Text)
    };
    let [_dubbo, path, _version, method] = [text()?, text()?, text()?, text()?];
    let arguments = parameters(text()?).ok_or(Unread::Descriptor)?;
    for _ in 0..arguments {
        reader.measured()?;
    }
    let all = reader.measured()?;
    let whole = reader.at() - all.len()..reader.at();
    nothing_follows(body, whole.end)?;
    let mut fields = Vec::new();
    let written_in = WrittenIn::Jsonb(whole.clone());
    let mut map = jsonb::Reader::new(all);
    match map.byte()? {
        jsonb::NULL => {
            let ending = Ending { place: whole, has_map: false, written_in };
            return Ok(Read { path, method, fields, ending });
        }
        jsonb::MAP => {}
        tag => return Err(Unreadable::Tag(tag).into()),
    }
    for _ in 0..=FIELDS_MAX {
        let at = whole.start + map.at();
        if map.end()? {
            nothing_follows(all, map.at())?;
            let ending = Ending { place: at..at, has_map: true, written_in };
            return Ok(Read { path, method, fields, ending });
        }
        let (name, value) = (map.plain()?, map.plain()?);
        add_field(&mut fields, name, value)?;
    }
    Err(Unread::TooMany)
}

/// What is behind the end would be the attachments where an argument was taken for them.
fn nothing_follows(body: &[u8], end: usize) -> Result<(), Unread> {
    if body.len() == end { Ok(()) } else { Err(Unread::Trailing) }
}

/// Adds an attachment that could be a field of a head: others say nothing of lanes. One that might say something, and that
/// whoever reads it next may read otherwise, is not read at all.
fn add_field<'b>(
    fields: &mut Vec<Field<'b>>,
    name: Option<&'b [u8]>,
    value: Option<&'b [u8]>,
) -> Result<(), Unread> {
    let written = name.ok_or(Unread::Text)?;
    let name = Name::of(written);
    let value = value.filter(|value| is_sound(value));
    // Said twice the later counts, as in Java's map.
    fields.retain(|it| it.written != written);
    if name != Name::Other {
        let value = value.ok_or(Unread::Text)?;
        // So says a sidecar that what was there under this spelling counts no more.
        if value.is_empty() {
            return Ok(());
        }
        if fields.iter().any(|it| it.name == name) {
            return Err(Unread::Twice);
        }
    }
    if let Some(value) = value.filter(|_| is_sound(written)) {
        fields.push(Field { name, written, value: value.trim_ascii() });
    }
    Ok(())
}

fn is_sound(text: &[u8]) -> bool {
    !text.iter().any(u8::is_ascii_control)
}

/// Puts more attachments into a request.
pub(crate) fn apply(frame: &mut Frame, changes: Changes) {
    let Changes { ending: Ending { place, has_map, written_in }, mut entries } = changes;
    let [begin, end] = match written_in {
        WrittenIn::Hessian2 => *b"HZ",
        WrittenIn::Jsonb(_) => [jsonb::MAP, jsonb::MAP_END],
    };
    if !has_map {
        entries.insert(0, begin);
        entries.push(end);
    }
    let (instead_of, with) = (place.len(), entries.len());
    frame.replace(place, &entries);
    if let WrittenIn::Jsonb(whole) = written_in {
        let length = (whole.len() - instead_of + with) as u32;
        frame.replace(whole.start - 4..whole.start, &length.to_be_bytes());
    }
}

impl<'b> Fields<'b> for Invocation<'b> {
    fn kept(&self) -> impl DoubleEndedIterator<Item = Field<'b>> + Clone {
        self.fields.iter().copied()
    }

    fn drop_where(&mut self, mut is_dropped: impl FnMut(&Field<'b>) -> bool) {
        let dropped = &mut self.dropped;
        self.fields.retain(|field| {
            let is_dropped = is_dropped(field);
            if is_dropped {
                dropped.push(field.written);
            }
            !is_dropped
        });
    }
}

impl<'b> Head<'b> for Invocation<'b> {
    fn method(&self) -> &str {
        "POST"
    }

    fn scheme(&self) -> Option<&'static str> {
        None
    }

    /// Which host a request is for is said by its connection.
    fn authority(&self) -> &'b [u8] {
        &[]
    }

    fn host(&self) -> &str {
        ""
    }

    /// As Triple has it: the interface, then the method.
    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        ""
    }

    fn merge_slashes(&mut self) {}

    fn judge(&mut self) {
        self.is_judged = true;
    }

    fn is_judged(&self) -> bool {
        self.is_judged
    }
}
