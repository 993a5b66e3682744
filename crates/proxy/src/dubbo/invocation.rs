//! What a request asks for, as far as its lane is concerned: which service and method, and its attachments. They are read as a
//! head of HTTP is, by the same functions.

use std::{ops::Range, time::Duration};

use routes::entrance::{FIELDS_MAX, Field, Fields, Head, Name, Written};

use super::{
    frame::{Frame, HESSIAN2},
    hessian::{self, Reader, Unreadable},
};

/// Arguments of one method at most; a method of Java has 255.
const ARGUMENTS_MAX: usize = 255;

/// The attachment that says how long a caller waits, in milliseconds.
const TIMEOUT: &str = "timeout";

/// Why nothing is known of a request but that it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    #[error("it is in serialization {0}, and Hessian 2 alone is read")]
    Serialization(u8),
    #[error("its body: {0}")]
    Body(#[from] Unreadable),
    #[error("its parameters are described as no method's")]
    Descriptor,
    #[error("more than {FIELDS_MAX} attachments")]
    TooMany,
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
pub(crate) enum Ending {
    /// Before the map's end.
    Map(Range<usize>),
    /// There is no map.
    Nothing(Range<usize>),
}

impl<'b> Invocation<'b> {
    /// Reads a request whose frame is `frame`.
    pub(crate) fn read(frame: &'b Frame) -> Result<Self, Unread> {
        if frame.head.serialization() != HESSIAN2 {
            return Err(Unread::Serialization(frame.head.serialization()));
        }
        let mut reader = Reader::new(frame.body());
        let mut text = || Ok::<_, Unread>(reader.string()?.unwrap_or_default());
        let [_dubbo, path, _version, method] = [text()?, text()?, text()?, text()?];
        let arguments = parameters(text()?).ok_or(Unread::Descriptor)?;
        for _ in 0..arguments {
            reader.skip()?;
        }
        let (fields, ending) = attachments(&mut reader)?;
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
        let mut entries = Vec::new();
        for key in self.dropped {
            hessian::write_string(&String::from_utf8_lossy(key), &mut entries);
            hessian::write_string("", &mut entries);
        }
        for (name, value) in written.iter() {
            // The others are for HTTP.
            let of_the_context = [Name::Baggage, Name::Traceparent, Name::RequestId, Name::Sw8];
            if of_the_context.contains(&Name::of(name.as_bytes())) {
                hessian::write_string(name, &mut entries);
                hessian::write_string(&String::from_utf8_lossy(value), &mut entries);
            }
        }
        let ending = self.ending.filter(|_| !entries.is_empty())?;
        Some(Changes { ending, entries })
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
            b'L' => &rest[rest.iter().position(|byte| *byte == b';')? + 1..],
            b'V' | b'Z' | b'B' | b'C' | b'D' | b'F' | b'I' | b'J' | b'S' => rest,
            _ => return None,
        };
        count += 1;
    }
    (count <= ARGUMENTS_MAX).then_some(count)
}

fn attachments<'b>(reader: &mut Reader<'b>) -> Result<(Vec<Field<'b>>, Ending), Unread> {
    let mut fields = Vec::new();
    let begin = reader.at();
    if reader.peek()? == b'N' {
        return Ok((fields, Ending::Nothing(begin..begin + 1)));
    }
    reader.begin_map()?;
    let mut seen = 0;
    loop {
        let at = reader.at();
        if reader.end()? {
            return Ok((fields, Ending::Map(at..at)));
        }
        seen += 1;
        if seen > FIELDS_MAX {
            return Err(Unread::TooMany);
        }
        let is_text = reader.is_string()?;
        let name = if is_text { reader.string()? } else { reader.skip().map(|()| None)? };
        let is_text = reader.is_string()?;
        let value = if is_text { reader.string()? } else { reader.skip().map(|()| None)? };
        // What could be no field of a head says nothing of lanes.
        let (Some(name), Some(value)) = (name, value) else { continue };
        if is_sound(name) && is_sound(value) {
            let name_of = Name::of(name);
            // Said twice the later counts, as in Java's map.
            fields.retain(|it: &Field<'_>| !it.written.eq_ignore_ascii_case(name));
            fields.push(Field { name: name_of, written: name, value: value.trim_ascii() });
        }
    }
}

fn is_sound(text: &[u8]) -> bool {
    !text.iter().any(u8::is_ascii_control)
}

/// Puts more attachments into a request.
pub(crate) fn apply(frame: &mut Frame, Changes { ending, entries }: Changes) {
    match ending {
        Ending::Map(place) => frame.replace(place, &entries),
        Ending::Nothing(place) => frame.replace(place, &[b"H", &entries[..], b"Z"].concat()),
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
