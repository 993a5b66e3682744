//! Bodies on their way through: finds where they end, and which of the bytes go on. Works in place.

use lanes::is_token_byte;
use routes::entrance::{CorrelationHeaders, Name};
use thiserror::Error;

use super::fields::Framing;

/// Bytes of one chunk's size line with its extensions. Nobody sends extensions; 256 is room for a few.
pub(crate) const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Bytes of one trailer line. It must fit a receive buffer, since it is judged whole.
pub(crate) const TRAILER_LINE_BYTES_MAX: usize = 8 * 1024;

/// Trailer fields of one body.
pub(crate) const TRAILER_FIELDS_MAX: usize = 32;

/// Hexadecimal digits of a chunk size: 15 keep it below 2^60.
const CHUNK_SIZE_DIGITS_MAX: usize = 15;

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BodyError {
    /// Not a size line.
    #[error("malformed chunk size")]
    ChunkSize,
    /// No CRLF after a chunk.
    #[error("chunk that does not end in CR LF")]
    ChunkEnd,
    /// Not a field line, or too many.
    #[error("malformed trailer")]
    Trailer,
}

/// What was made of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// How many bytes go on; they were moved to the front.
    pub(crate) keep: usize,
    /// How many bytes are done with. The rest is the next message's, or must be shown again with more after it.
    pub(crate) consumed: usize,
    /// How many bytes behind those that go on are lines of trailers, where framing does not go on.
    pub(crate) trailers: usize,
    /// The body ends here.
    pub(crate) done: bool,
}

/// Where in a body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    ChunkLine,
    ChunkData(u64),
    ChunkEnd,
    Trailers(usize),
}

/// Follows one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Body<'c> {
    state: State,
    /// Chunk framing goes on with the data; false when the other side speaks HTTP/1.0.
    keep_framing: bool,
    /// Fields that are no trailers either, besides those that Laneway knows.
    no_trailers: Option<&'c CorrelationHeaders>,
}

impl<'c> Body<'c> {
    /// At the start of a body. `keep_framing`: chunked stays chunked; else only the data goes on.
    pub(crate) fn new(framing: Framing, keep_framing: bool) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(bytes) => State::Length(bytes),
            Framing::Chunked => State::ChunkLine,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, keep_framing, no_trailers: None }
    }

    /// Lets none of these go on as a trailer.
    #[must_use]
    pub(crate) fn without_trailers(self, no_trailers: Option<&'c CorrelationHeaders>) -> Self {
        Self { no_trailers, ..self }
    }

    /// Whether all of it was seen.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the other side's closing is the proper end.
    pub(crate) fn ends_by_close(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Done)
    }

    /// How many bytes are known to come; 0 when unknown.
    pub(crate) fn known_remaining(&self) -> u64 {
        match self.state {
            State::Length(left) | State::ChunkData(left) => left,
            _ => 0,
        }
    }

    /// Takes in `bytes`, moves what goes on to their front, and says how much that is.
    pub(crate) fn step(&mut self, bytes: &mut [u8]) -> Result<Step, BodyError> {
        let mut at = 0;
        let mut keep = 0;
        let mut trailers = 0;
        while at < bytes.len() || matches!(self.state, State::Done) {
            let rest = &bytes[at..];
            match self.state {
                State::Done => break,
                State::UntilClose => {
                    keep_range(bytes, &mut keep, at, bytes.len());
                    at = bytes.len();
                }
                State::Length(left) => {
                    let take = left.min(rest.len() as u64);
                    keep_range(bytes, &mut keep, at, at + take as usize);
                    at += take as usize;
                    self.state =
                        if take == left { State::Done } else { State::Length(left - take) };
                }
                State::ChunkData(left) => {
                    let take = left.min(rest.len() as u64);
                    keep_range(bytes, &mut keep, at, at + take as usize);
                    at += take as usize;
                    self.state =
                        if take == left { State::ChunkEnd } else { State::ChunkData(left - take) };
                }
                State::ChunkEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        self.keep_framing_range(bytes, &mut keep, at, at + 2);
                        at += 2;
                        self.state = State::ChunkLine;
                    }
                    [b'\r'] => break,
                    _ => return Err(BodyError::ChunkEnd),
                },
                State::ChunkLine => {
                    let Some(line) = whole_line(rest, CHUNK_LINE_BYTES_MAX, BodyError::ChunkSize)?
                    else {
                        break;
                    };
                    let (size, digits) = chunk_size(&rest[..line])?;
                    // Extensions are for one hop: the digits go on, then the CRLF.
                    self.keep_framing_range(bytes, &mut keep, at, at + digits);
                    self.keep_framing_range(bytes, &mut keep, at + line, at + line + 2);
                    at += line + 2;
                    self.state =
                        if size == 0 { State::Trailers(0) } else { State::ChunkData(size) };
                }
                State::Trailers(seen) => {
                    let Some(line) = whole_line(rest, TRAILER_LINE_BYTES_MAX, BodyError::Trailer)?
                    else {
                        break;
                    };
                    if line == 0 {
                        self.keep_framing_range(bytes, &mut keep, at, at + 2);
                        self.state = State::Done;
                    } else {
                        if seen == TRAILER_FIELDS_MAX {
                            return Err(BodyError::Trailer);
                        }
                        if trailer_goes_on(&rest[..line], self.no_trailers)? {
                            let mut end = keep + trailers;
                            keep_range(bytes, &mut end, at, at + line + 2);
                            (keep, trailers) = self.kept_trailers(keep, end);
                        }
                        self.state = State::Trailers(seen + 1);
                    }
                    at += line + 2;
                }
            }
        }
        Ok(Step { keep, consumed: at, trailers, done: self.state == State::Done })
    }

    /// Where what goes on ends, and how many bytes of trailers lie behind it, when all that is kept ends at `end`.
    fn kept_trailers(&self, keep: usize, end: usize) -> (usize, usize) {
        if self.keep_framing { (end, 0) } else { (keep, end - keep) }
    }

    fn keep_framing_range(&self, bytes: &mut [u8], keep: &mut usize, start: usize, end: usize) {
        if self.keep_framing {
            keep_range(bytes, keep, start, end);
        }
    }
}

fn keep_range(bytes: &mut [u8], keep: &mut usize, start: usize, end: usize) {
    if *keep != start {
        bytes.copy_within(start..end, *keep);
    }
    *keep += end - start;
}

/// Length of the first line without its CRLF, `None` while it is not all there.
fn whole_line(
    bytes: &[u8],
    bytes_max: usize,
    error: BodyError,
) -> Result<Option<usize>, BodyError> {
    let window = &bytes[..bytes.len().min(bytes_max)];
    match memchr::memchr(b'\n', window) {
        Some(feed) if feed > 0 && bytes[feed - 1] == b'\r' => Ok(Some(feed - 1)),
        Some(_) => Err(error),
        None if window.len() == bytes_max => Err(error),
        None => Ok(None),
    }
}

/// The size, and how many digits it has.
fn chunk_size(line: &[u8]) -> Result<(u64, usize), BodyError> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == 0 || digits > CHUNK_SIZE_DIGITS_MAX {
        return Err(BodyError::ChunkSize);
    }
    let extensions = &line[digits..];
    let well_formed = extensions.is_empty() || extensions[0] == b';';
    if !well_formed || extensions.iter().any(|byte| *byte < b' ' || *byte == 0x7f) {
        return Err(BodyError::ChunkSize);
    }
    let size = line[..digits].iter().fold(0, |size, digit| {
        size << 4 | u64::from(char::from(*digit).to_digit(16).unwrap_or_default())
    });
    Ok((size, digits))
}

/// Whether a trailer may go on: not what frames, routes, authenticates or ties together a message, should somebody
/// merge it.
pub(crate) fn trailer_goes_on(
    line: &[u8],
    no_trailers: Option<&CorrelationHeaders>,
) -> Result<bool, BodyError> {
    let name = trailer_name(line)?;
    Ok(Name::of(name) == Name::Other && !no_trailers.is_some_and(|ids| ids.contains(name)))
}

fn trailer_name(line: &[u8]) -> Result<&[u8], BodyError> {
    let colon = line.iter().position(|byte| !is_token_byte(*byte)).ok_or(BodyError::Trailer)?;
    if colon == 0
        || line[colon] != b':'
        || line[colon..].iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)
    {
        return Err(BodyError::Trailer);
    }
    Ok(&line[..colon])
}
