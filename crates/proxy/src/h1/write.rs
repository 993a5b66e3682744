//! Puts heads on the wire.

use routes::{Edits, entrance::Written};

use super::{fields::Framing, head::Field, request::RequestHead};

/// A request whose head was read by some codec, and is there as text.
pub(crate) trait ReadHead {
    /// The head, and the bytes it was read from.
    fn read_head(&self) -> (&RequestHead, &[u8]);

    /// Its method is HEAD, so that its answer has no body.
    fn is_head(&self) -> bool {
        let (head, bytes) = self.read_head();
        head.method.of(bytes) == b"HEAD"
    }
}

/// What fields go on as: lines, or the block of another protocol.
pub(crate) trait Fields {
    /// Those that Laneway says itself.
    fn written(&mut self, written: &Written);

    /// Those that were kept.
    fn kept(&mut self, bytes: &[u8], fields: &[Field]);

    /// One that is added.
    fn added(&mut self, name: &str, value: &[u8]);
}

/// Lines of text.
struct Lines<'o>(&'o mut Vec<u8>);

impl Fields for Lines<'_> {
    fn written(&mut self, written: &Written) {
        self.0.extend_from_slice(written.lines());
    }

    /// Whole runs at once.
    fn kept(&mut self, bytes: &[u8], fields: &[Field]) {
        write_kept(bytes, fields, self.0);
    }

    fn added(&mut self, name: &str, value: &[u8]) {
        write_field(name, value, self.0);
    }
}

/// The fields of a request as it goes on: what Laneway says itself, those that were kept, and what the route adds.
#[inline]
pub(crate) fn write_fields(
    head: &RequestHead,
    bytes: &[u8],
    written: &Written,
    edits: &Edits<'_>,
    fields: &mut impl Fields,
) {
    fields.written(written);
    fields.kept(bytes, head.fields());
    for (name, value) in edits.added() {
        fields.added(name, value.as_bytes());
    }
}

/// Appends path and query of a request as it goes on.
#[inline]
pub(crate) fn write_target(head: &RequestHead, bytes: &[u8], edits: &Edits<'_>, out: &mut Vec<u8>) {
    edits.write_path(head.path_sent(bytes), out);
    if let Some(query) = head.query_sent(bytes) {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}

/// Appends the head of a request as it goes on.
pub(crate) fn write_request(
    head: &RequestHead,
    bytes: &[u8],
    written: &Written,
    edits: &Edits<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(head.method.of(bytes));
    out.push(b' ');
    write_target(head, bytes, edits, out);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(head, bytes, written, edits, &mut Lines(out));
    write_framing(head, bytes, out);
    out.extend_from_slice(b"\r\n");
}

/// What frames the body and asks for an upgrade; the fields that did were for one hop alone.
fn write_framing(head: &RequestHead, bytes: &[u8], out: &mut Vec<u8>) {
    if head.framing == Framing::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if let Some(protocol) = head.upgrade {
        out.extend_from_slice(b"connection: upgrade\r\n");
        write_field("upgrade", protocol.of(bytes), out);
    }
}

/// Appends the lines of all kept fields, whole runs at once.
pub(crate) fn write_kept(bytes: &[u8], fields: &[Field], out: &mut Vec<u8>) {
    let mut run: Option<(usize, usize)> = None;
    for field in fields {
        let (start, end) = (field.line.start as usize, field.line.end as usize);
        run = match (run, field.keep) {
            (Some((first, last)), true) if last == start => Some((first, end)),
            (previous, keep) => {
                if let Some((first, last)) = previous {
                    out.extend_from_slice(&bytes[first..last]);
                }
                keep.then_some((start, end))
            }
        };
    }
    if let Some((first, last)) = run {
        out.extend_from_slice(&bytes[first..last]);
    }
}

/// Appends `name: value CRLF`.
pub(crate) fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
