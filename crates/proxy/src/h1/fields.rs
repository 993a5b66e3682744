//! What the fields of either direction have in common: framing, and how they are held.

use routes::entrance::{self, Fields, FramingReader, Name, Names};

use super::head::{HeadError, HeadParser};

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Framing {
    /// No body.
    #[default]
    None,
    /// This many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Until the connection closes (responses only).
    UntilClose,
}

/// What `Content-Length` and `Transfer-Encoding` say together; `None` when neither is there.
/// Marks repeated equal lengths, so that one goes on.
pub(super) fn framing(bytes: &[u8], parser: &mut HeadParser) -> Result<Option<Framing>, HeadError> {
    if !parser.names.meets(Names::of(&[Name::ContentLength, Name::TransferEncoding])) {
        return Ok(None);
    }
    let mut reader = FramingReader::default();
    for field in &mut parser.fields {
        if !reader.read(field.name, field.value.of(bytes))? {
            field.keep = false;
        }
    }
    Ok(reader.end()?.map(|framing| match framing {
        entrance::Framing::Length(bytes) => Framing::Length(bytes),
        entrance::Framing::Chunked => Framing::Chunked,
    }))
}

/// Fields as offsets into the bytes they were read from.
#[derive(Debug)]
pub(super) struct FieldLines<'f, 'b> {
    pub(super) parser: &'f mut HeadParser,
    pub(super) bytes: &'b [u8],
}

impl<'b> Fields<'b> for FieldLines<'_, 'b> {
    fn kept(&self) -> impl DoubleEndedIterator<Item = entrance::Field<'b>> + Clone {
        let bytes = self.bytes;
        self.parser.fields.iter().filter(|field| field.keep).map(move |field| field.text(bytes))
    }

    fn names(&self) -> Names {
        self.parser.names
    }

    fn drop_where(&mut self, mut is_dropped: impl FnMut(&entrance::Field<'b>) -> bool) {
        for field in self.parser.fields.iter_mut().filter(|field| field.keep) {
            field.keep = !is_dropped(&field.text(self.bytes));
        }
    }

    fn values(&self, name: Name) -> impl DoubleEndedIterator<Item = &'b [u8]> + Clone {
        let (parser, bytes) = (&*self.parser, self.bytes);
        let fields = if parser.names.contains(name) { &*parser.fields } else { &[] };
        let named = fields.iter().filter(move |field| field.keep && field.name == name);
        named.map(move |field| field.value.of(bytes))
    }
}
