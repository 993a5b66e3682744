//! Bodies on their way through: finds where they end, and which of the bytes go on. Works in place.

use lanes::is_token_byte;
use routes::entrance::{CorrelationHeaders, Name, Nominated};
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
    /// Fields that were for one hop.
    nominated: Nominated,
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
        Self { state, keep_framing, nominated: Nominated::default(), no_trailers: None }
    }

    /// Lets none of these go on as a trailer.
    #[must_use]
    pub(crate) fn without_trailers(self, no_trailers: Option<&'c CorrelationHeaders>) -> Self {
        Self { no_trailers, ..self }
    }

    /// Lets none of these go on as a trailer: `Connection` has named them (RFC 9110 §7.6.1).
    #[must_use]
    pub(crate) fn without_nominated(self, nominated: Nominated) -> Self {
        Self { nominated, ..self }
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
        let mut moved = Moved::default();
        while moved.at < bytes.len() {
            let there = bytes.len() - moved.at;
            match self.state {
                State::Done => break,
                State::UntilClose => moved.keep(bytes, there),
                State::Length(left) => {
                    let taken = left.min(there as u64);
                    moved.keep(bytes, taken as usize);
                    self.state =
                        if taken == left { State::Done } else { State::Length(left - taken) };
                }
                State::ChunkData(left) => {
                    let taken = left.min(there as u64);
                    moved.keep(bytes, taken as usize);
                    self.state = if taken == left {
                        State::ChunkEnd
                    } else {
                        State::ChunkData(left - taken)
                    };
                }
                State::ChunkEnd | State::ChunkLine | State::Trailers(_) => {
                    if !self.step_line(bytes, &mut moved)? {
                        break;
                    }
                }
            }
        }
        let Moved { at, keep, trailers } = moved;
        Ok(Step { keep, consumed: at, trailers, done: self.state == State::Done })
    }

    /// Takes in a line of the framing, or of trailers. Whether it is all there.
    fn step_line(&mut self, bytes: &mut [u8], moved: &mut Moved) -> Result<bool, BodyError> {
        let rest = &bytes[moved.at..];
        match self.state {
            State::ChunkEnd => match rest {
                [b'\r', b'\n', ..] => {
                    self.move_framing(bytes, moved, 2);
                    self.state = State::ChunkLine;
                }
                [b'\r'] => return Ok(false),
                _ => return Err(BodyError::ChunkEnd),
            },
            State::Trailers(seen) => {
                let line = whole_line(rest, TRAILER_LINE_BYTES_MAX, BodyError::Trailer)?;
                let Some(line) = line else { return Ok(false) };
                if line == 0 {
                    self.move_framing(bytes, moved, 2);
                    self.state = State::Done;
                    return Ok(true);
                }
                if seen == TRAILER_FIELDS_MAX {
                    return Err(BodyError::Trailer);
                }
                if !self.lets_on(&rest[..line])? {
                    moved.at += line + 2;
                } else if self.keep_framing {
                    moved.keep(bytes, line + 2);
                } else {
                    moved.keep_trailer(bytes, line + 2);
                }
                self.state = State::Trailers(seen + 1);
            }
            _ => {
                let line = whole_line(rest, CHUNK_LINE_BYTES_MAX, BodyError::ChunkSize)?;
                let Some(line) = line else { return Ok(false) };
                let (size, digits) = chunk_size(&rest[..line])?;
                // Extensions are for one hop: the digits go on, then the CRLF.
                self.move_framing(bytes, moved, digits);
                moved.at += line - digits;
                self.move_framing(bytes, moved, 2);
                self.state = if size == 0 { State::Trailers(0) } else { State::ChunkData(size) };
            }
        }
        Ok(true)
    }

    /// Whether a line of trailers goes on.
    fn lets_on(&self, line: &[u8]) -> Result<bool, BodyError> {
        Ok(trailer_goes_on(line, self.no_trailers)? && !self.nominated.has(trailer_name(line)?))
    }

    /// The next bytes frame the data.
    fn move_framing(&self, bytes: &mut [u8], moved: &mut Moved, count: usize) {
        if self.keep_framing {
            moved.keep(bytes, count);
        } else {
            moved.at += count;
        }
    }
}

/// How far bytes were gone through, and what of them goes on, at their front.
#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    at: usize,
    keep: usize,
    /// Behind what is kept.
    trailers: usize,
}

impl Moved {
    /// The next bytes go on.
    fn keep(&mut self, bytes: &mut [u8], count: usize) {
        self.move_to(self.keep, bytes, count);
        self.keep += count;
    }

    /// The same of a line of trailers that goes on beside the data.
    fn keep_trailer(&mut self, bytes: &mut [u8], count: usize) {
        self.move_to(self.keep + self.trailers, bytes, count);
        self.trailers += count;
    }

    fn move_to(&mut self, to: usize, bytes: &mut [u8], count: usize) {
        if to != self.at {
            bytes.copy_within(self.at..self.at + count, to);
        }
        self.at += count;
    }
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
