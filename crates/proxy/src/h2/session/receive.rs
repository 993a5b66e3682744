//! What comes in: frames, and what they mean for streams, windows and the connection.

use std::task::Waker;

use super::{LAST_CALL, Leaving, Lost, SIGN_OF_LIFE, Session, Stream};
use crate::{
    buffers::Buffers,
    h2::{
        error::{Code, Fatal},
        frame::{self, FRAME_BYTES_MAX, FrameHead, HEAD_BYTES, Kind, PREFACE, WINDOW_MAX, flag},
        head::{HeadReader, HeadText, Kind as HeadKind, Malformed},
        settings::write_acknowledgement,
    },
    read_so_far::ReadSoFar,
};

/// Bytes of a compressed head: no head that may be as large as ours may be is larger compressed.
const BLOCK_BYTES_MAX: usize = crate::h1::head::HEAD_BYTES_MAX;

/// Where in what comes we are.
#[derive(Debug)]
pub(super) struct Receiving {
    /// A client begins with it.
    awaits_preface: bool,
    /// Then both sides say what they ask for.
    awaits_settings: bool,
    /// Data that goes on.
    data: Option<DataLeft>,
    /// A head that goes on in further frames.
    block: Option<Block>,
}

/// The rest of a frame of data.
#[derive(Debug, Clone, Copy)]
struct DataLeft {
    stream: u32,
    bytes: usize,
    padding_bytes: usize,
    ends_stream: bool,
}

/// A head that has not all come.
#[derive(Debug)]
struct Block {
    stream: u32,
    ends_stream: bool,
    bytes: Vec<u8>,
}

impl Receiving {
    pub(super) fn new(is_client: bool) -> Self {
        Self { awaits_preface: !is_client, awaits_settings: true, data: None, block: None }
    }

    /// The other side has said what it asks for.
    pub(super) fn is_greeted(&self) -> bool {
        !self.awaits_settings
    }

    /// A head has begun to come, or the greeting has, and is not whole.
    pub(super) fn is_within_head(&self) -> bool {
        self.block.is_some() || self.awaits_settings
    }
}

/// What ends a stream, or more.
#[derive(Debug)]
enum Wrong {
    Connection(Fatal),
    Stream(Code),
}

impl From<Fatal> for Wrong {
    fn from(fatal: Fatal) -> Self {
        Self::Connection(fatal)
    }
}

impl Session {
    /// Takes in what came, as far as it is whole: how many bytes. The rest is to be shown again, with more behind it; a
    /// whole frame must find room.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        buffers: &Buffers,
        now_ms: u64,
    ) -> Result<usize, Fatal> {
        self.guard.refill(now_ms);
        self.heard = self.heard.wrapping_add(1);
        let mut rest = bytes;
        if self.receiving.awaits_preface {
            let known = rest.len().min(PREFACE.len());
            if rest[..known] != PREFACE[..known] {
                return Err(Fatal::protocol("no HTTP/2 client's preface"));
            }
            if known < PREFACE.len() {
                return Ok(0);
            }
            rest = &rest[known..];
            self.receiving.awaits_preface = false;
        }
        while !self.is_closed {
            if let Some(left) = self.receiving.data {
                if rest.is_empty() {
                    break;
                }
                let bytes = rest.len().min(left.bytes + left.padding_bytes);
                self.data(left, &rest[..bytes], buffers)?;
                rest = &rest[bytes..];
                continue;
            }
            let Some(head) = rest.first_chunk() else { break };
            let head = FrameHead::read(head);
            if head.bytes > FRAME_BYTES_MAX {
                return Err(Fatal::frame_size("frame larger than was allowed"));
            }
            self.check_order(&head)?;
            if head.kind == Kind::Data {
                let Some(after) = self.data_begins(&head, &rest[HEAD_BYTES..])? else { break };
                rest = &rest[HEAD_BYTES + after..];
                continue;
            }
            let Some(payload) = rest[HEAD_BYTES..].get(..head.bytes) else { break };
            rest = &rest[HEAD_BYTES + head.bytes..];
            match self.frame(&head, payload, buffers) {
                Ok(()) => {}
                Err(Wrong::Connection(fatal)) => return Err(fatal),
                Err(Wrong::Stream(code)) => self.end_stream_early(head.stream, code)?,
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// What must come first, and what nothing may interrupt.
    fn check_order(&mut self, head: &FrameHead) -> Result<(), Fatal> {
        let greets = head.kind == Kind::Settings && !head.has(flag::ACKNOWLEDGED);
        if self.receiving.awaits_settings && !greets {
            return Err(Fatal::protocol("the first frame is not SETTINGS"));
        }
        match (&self.receiving.block, head.kind) {
            (Some(block), Kind::Continuation) if block.stream == head.stream => Ok(()),
            (None, Kind::Continuation) | (Some(_), _) => {
                Err(Fatal::protocol("a head is not followed by its continuation alone"))
            }
            (None, _) => Ok(()),
        }
    }

    fn frame(&mut self, head: &FrameHead, payload: &[u8], buffers: &Buffers) -> Result<(), Wrong> {
        match head.kind {
            // Read where they begin, since they need not be whole.
            Kind::Data => Ok(()),
            Kind::Headers => self.headers(head, payload, buffers),
            Kind::Continuation => self.continuation(head, payload, buffers),
            Kind::Priority => {
                self.guard.frame()?;
                self.priority(head, payload)
            }
            Kind::Reset => self.reset_by_peer(head, payload),
            Kind::Settings => Ok(self.settings(head, payload)?),
            Kind::PushPromise => Err(Fatal::protocol("PUSH_PROMISE that nobody asked for").into()),
            Kind::Ping => Ok(self.ping(head, payload)?),
            Kind::GoAway => Ok(self.go_away(head, payload)?),
            Kind::WindowUpdate => self.window_update(head, payload),
            Kind::Unknown => Ok(self.guard.frame()?),
        }
    }

    /// Whether nobody has opened this stream yet.
    fn is_idle(&self, id: u32) -> bool {
        id > self.last_stream || id.is_multiple_of(2)
    }

    /// A frame that is about no stream where it must be about one, or about one that does not exist.
    fn check_stream(&self, id: u32) -> Result<(), Fatal> {
        if id == 0 || self.is_idle(id) {
            return Err(Fatal::protocol("a frame of a stream that does not exist"));
        }
        Ok(())
    }

    /// The other side broke a rule in this stream alone.
    fn end_stream_early(&mut self, id: u32, code: Code) -> Result<(), Fatal> {
        self.guard.reset()?;
        self.write_reset(id, code);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.lose(Lost::Reset(code));
        }
        Ok(())
    }

    // Data.

    /// Reads where data begins: how many bytes of `payload` that takes. `None`: not all of them are there.
    fn data_begins(&mut self, head: &FrameHead, payload: &[u8]) -> Result<Option<usize>, Fatal> {
        self.check_stream(head.stream)?;
        let (padding_bytes, read) = if head.has(flag::PADDED) {
            // What follows an empty frame is the next one's.
            match payload.first() {
                _ if head.bytes == 0 => {
                    return Err(Fatal::frame_size("padding without its length"));
                }
                None => return Ok(None),
                Some(padding) => (usize::from(*padding), 1),
            }
        } else {
            (0, 0)
        };
        let Some(data_bytes) = head.bytes.checked_sub(padding_bytes + read) else {
            return Err(Fatal::protocol("more padding than there is room for"));
        };
        self.receive_window -= head.bytes as i64;
        if self.receive_window < 0 {
            return Err(Fatal::new(Code::FlowControl, "more data than the connection allows"));
        }
        // Nobody takes padding: the other side may send as much again.
        self.give_up_data(padding_bytes + read);
        let ends_stream = head.has(flag::END_STREAM);
        let wrong = match self.streams.get_mut(&head.stream) {
            None => Some(Code::StreamClosed),
            Some(stream) if stream.lost.is_some() || stream.they_ended => Some(Code::StreamClosed),
            Some(stream) if !stream.has_head => Some(Code::Protocol),
            Some(stream) => {
                stream.receive_window -= head.bytes as i64;
                stream.taken += (padding_bytes + read) as u32;
                (stream.receive_window < 0).then_some(Code::FlowControl)
            }
        };
        if let Some(code) = wrong
            && !self.was_ended_here(head.stream)
        {
            self.end_stream_early(head.stream, code)?;
        }
        if data_bytes == 0 && !ends_stream {
            self.guard.frame()?;
        }
        if !ends_stream && wrong.is_none() {
            self.widen(head.stream);
        }
        let left = DataLeft { stream: head.stream, bytes: data_bytes, padding_bytes, ends_stream };
        if left.bytes + left.padding_bytes == 0 {
            self.data_ends(left)?;
        } else {
            self.receiving.data = Some(left);
        }
        Ok(Some(read))
    }

    /// Takes in the next `bytes` of a frame of data.
    fn data(&mut self, left: DataLeft, bytes: &[u8], buffers: &Buffers) -> Result<(), Fatal> {
        let (data, padding) = bytes.split_at(bytes.len().min(left.bytes));
        let left = DataLeft {
            bytes: left.bytes - data.len(),
            padding_bytes: left.padding_bytes - padding.len(),
            ..left
        };
        let is_whole = left.bytes + left.padding_bytes == 0;
        self.receiving.data = (!is_whole).then_some(left);
        let takes = |stream: &&mut Stream| stream.lost.is_none() && !stream.they_ended;
        if let Some(stream) = self.streams.get_mut(&left.stream).filter(takes) {
            if let Some(announced) = &mut stream.announced {
                match announced.checked_sub(data.len() as u64) {
                    Some(rest) => *announced = rest,
                    None => {
                        self.give_up_data(data.len());
                        return self.malformed(left.stream, Malformed::ContentLength, None);
                    }
                }
            }
            stream.append(data, buffers);
            if !left.ends_stream || !is_whole {
                stream.wake_receiver();
            }
            if stream.is_of_protocol {
                // Its reader may take nothing for long, and others must not wait for it.
                self.give_up_data(data.len());
            }
        } else {
            self.give_up_data(data.len());
        }
        if is_whole { self.data_ends(left) } else { Ok(()) }
    }

    fn data_ends(&mut self, left: DataLeft) -> Result<(), Fatal> {
        if left.ends_stream { self.they_end(left.stream) } else { Ok(()) }
    }

    /// The other side sends no more of a stream.
    fn they_end(&mut self, id: u32) -> Result<(), Fatal> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.lost.is_some() {
            return Ok(());
        }
        if stream.announced.is_some_and(|bytes| bytes > 0) {
            return self.malformed(id, Malformed::ContentLength, None);
        }
        stream.they_ended = true;
        stream.wake_receiver();
        Ok(())
    }

    // Heads.

    fn headers(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        buffers: &Buffers,
    ) -> Result<(), Wrong> {
        if head.stream == 0 || head.stream.is_multiple_of(2) {
            return Err(Fatal::protocol("a head of a stream that cannot exist").into());
        }
        let mut rest = payload;
        let mut padding_bytes = 0;
        if head.has(flag::PADDED) {
            let (padding, after) =
                rest.split_first().ok_or(Fatal::frame_size("padding without its length"))?;
            (padding_bytes, rest) = (usize::from(*padding), after);
        }
        let mut depends_on_itself = false;
        if head.has(flag::PRIORITY) {
            let (priority, after) =
                rest.split_first_chunk::<5>().ok_or(Fatal::frame_size("priority is not whole"))?;
            depends_on_itself = dependency(priority) == head.stream;
            rest = after;
        }
        let Some(block_bytes) = rest.len().checked_sub(padding_bytes) else {
            return Err(Fatal::protocol("more padding than there is room for").into());
        };
        let block = &rest[..block_bytes];
        let ends_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            self.head(head.stream, ends_stream, block, buffers)?;
        } else {
            self.receiving.block =
                Some(Block { stream: head.stream, ends_stream, bytes: block.to_vec() });
        }
        // What depends on itself is an error, as long as anybody heeds priorities.
        if depends_on_itself { Err(Wrong::Stream(Code::Protocol)) } else { Ok(()) }
    }

    fn continuation(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        buffers: &Buffers,
    ) -> Result<(), Wrong> {
        self.guard.frame()?;
        let Some(mut block) = self.receiving.block.take() else { return Ok(()) };
        if block.bytes.len() + payload.len() > BLOCK_BYTES_MAX {
            return Err(Fatal::new(Code::EnhanceYourCalm, "a head that does not end").into());
        }
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.head(block.stream, block.ends_stream, &block.bytes, buffers);
        }
        self.receiving.block = Some(block);
        Ok(())
    }

    /// A whole head of a stream: the request's, an answer's, or trailers.
    fn head(
        &mut self,
        id: u32,
        ends_stream: bool,
        block: &[u8],
        buffers: &Buffers,
    ) -> Result<(), Wrong> {
        let is_new = !self.is_client && id > self.last_stream;
        if self.is_client && id > self.last_stream {
            return Err(Fatal::protocol("an answer to nothing").into());
        }
        let kind = match self.streams.get(&id) {
            Some(stream) if stream.has_head => HeadKind::Trailers,
            _ if self.is_client => HeadKind::Answer,
            Some(_) => HeadKind::Trailers,
            None => HeadKind::Request,
        };
        let mut reader = HeadReader::new(kind, buffers.take_write());
        let decoded = self.decoder.decode(block, |name, value| reader.read(name, value));
        decoded.map_err(|_| Fatal::new(Code::Compression, "a head that cannot be decoded"))?;
        if is_new && !self.admit(id)? {
            return Ok(());
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            if self.was_ended_here(id) {
                return Ok(());
            }
            return Err(Fatal::new(Code::StreamClosed, "a head of a stream that is closed").into());
        };
        // What was ended early may still be on its way.
        if stream.lost.is_some() && self.reset.contains(&id) {
            return Ok(());
        }
        if stream.lost.is_some() || stream.they_ended {
            return Err(Wrong::Stream(Code::StreamClosed));
        }
        if kind == HeadKind::Trailers {
            return self.trailers(id, ends_stream, reader.finish());
        }
        let is_request = kind == HeadKind::Request;
        match reader.finish() {
            Ok(head) => {
                let is_interim = kind == HeadKind::Answer && head.status < 200;
                if is_interim {
                    self.guard.frame()?;
                    if ends_stream {
                        return Err(Wrong::Stream(Code::Protocol));
                    }
                }
                stream.is_of_protocol = match kind {
                    HeadKind::Request => head.asks_for.is_some(),
                    // Whatever else it answers is an answer like any other.
                    _ => stream.is_of_protocol && (is_interim || is_success(head.status)),
                };
                stream.announced = if is_interim { None } else { stream.announced_by(&head) };
                if ends_stream && stream.announced.is_some_and(|bytes| bytes > 0) {
                    let read = is_request.then(|| ReadSoFar::of_text(&head.text).in_http2());
                    return Ok(self.malformed(id, Malformed::ContentLength, read)?);
                }
                stream.has_head = !is_interim;
                stream.heads.push_back(Ok(head));
                // Whoever answers requests may be asked again at any time.
                self.asked.take_if(|asked| asked.is_answered);
            }
            // Whoever serves it says so in an answer.
            Err(Malformed::TooLarge) if is_request => {
                stream.has_head = true;
                stream.heads.push_back(Err(Malformed::TooLarge));
                stream.read_so_far = Some(Box::new(reader.read_so_far()));
            }
            Err(malformed) => {
                let read = is_request.then(|| reader.read_so_far());
                return Ok(self.malformed(id, malformed, read)?);
            }
        }
        stream.wake_receiver();
        if is_new {
            self.opened.push_back(id);
        }
        if ends_stream { Ok(self.they_end(id)?) } else { Ok(()) }
    }

    /// What comes after a stream's data ends it.
    fn trailers(
        &mut self,
        id: u32,
        ends_stream: bool,
        read: Result<HeadText, Malformed>,
    ) -> Result<(), Wrong> {
        if self.streams.get(&id).is_some_and(|stream| stream.is_of_protocol) {
            // RFC 9113 §8.5
            return Ok(self.malformed(id, Malformed::Trailers, None)?);
        }
        match (read, ends_stream) {
            (Ok(trailers), true) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.trailers = Some(trailers.text);
                }
                Ok(self.they_end(id)?)
            }
            (Err(malformed), _) => Ok(self.malformed(id, malformed, None)?),
            (Ok(_), false) => Err(Wrong::Stream(Code::Protocol)),
        }
    }

    /// Whether a new request is taken.
    fn admit(&mut self, id: u32) -> Result<bool, Fatal> {
        self.last_stream = id;
        let is_refused =
            self.leaving == Leaving::Left || self.streams.len() >= self.limits.streams_max as usize;
        if is_refused {
            self.guard.reset()?;
            self.write_reset(id, Code::RefusedStream);
            return Ok(false);
        }
        let stream = Stream::new(self.theirs.window, self.limits.first_window);
        self.streams.insert(id, stream);
        Ok(true)
    }

    /// What came of a stream is no message. `read`: what of it can be told, where it is no request.
    fn malformed(
        &mut self,
        id: u32,
        malformed: Malformed,
        read: Option<ReadSoFar>,
    ) -> Result<(), Fatal> {
        self.malformed.extend(read.map(|read| (malformed, Box::new(read))));
        self.guard.reset()?;
        self.write_reset(id, Code::Protocol);
        let is_served = |stream: &Stream| stream.has_head;
        match self.streams.get_mut(&id) {
            Some(stream) if is_served(stream) || self.is_client => {
                stream.lose(Lost::Malformed(malformed));
            }
            // Nobody has heard of it.
            _ => drop(self.streams.remove(&id)),
        }
        Ok(())
    }

    // What is about streams, or the connection.

    fn priority(&mut self, head: &FrameHead, payload: &[u8]) -> Result<(), Wrong> {
        if head.stream == 0 {
            return Err(Fatal::protocol("PRIORITY of no stream").into());
        }
        match payload.first_chunk::<5>() {
            Some(priority) if payload.len() == 5 => {
                if dependency(priority) != head.stream {
                    return Ok(());
                }
                // A stream that does not exist cannot be reset.
                self.check_stream(head.stream)?;
                Err(Wrong::Stream(Code::Protocol))
            }
            _ if self.is_idle(head.stream) => {
                Err(Fatal::frame_size("PRIORITY of another size").into())
            }
            _ => Err(Wrong::Stream(Code::FrameSize)),
        }
    }

    fn reset_by_peer(&mut self, head: &FrameHead, payload: &[u8]) -> Result<(), Wrong> {
        let code = whole(payload, "RST_STREAM of another size")?;
        self.check_stream(head.stream)?;
        if let Some(stream) = self.streams.get_mut(&head.stream) {
            let code = Code::of(u32::from_be_bytes(code));
            let is_unprocessed = self.is_client && code == Code::RefusedStream;
            stream.lose(if is_unprocessed { Lost::Unprocessed } else { Lost::Reset(code) });
            // So ends what resets a connection in HTTP/1.1 (RFC 8441 §5): a caller that is gone, and not one that has
            // somebody begin to work for nothing.
            if !self.is_client && !stream.is_tunnel && !self.limits.is_shared {
                self.guard.reset()?;
            }
        } else {
            self.guard.frame()?;
        }
        Ok(())
    }

    fn settings(&mut self, head: &FrameHead, payload: &[u8]) -> Result<(), Fatal> {
        if head.stream != 0 {
            return Err(Fatal::protocol("SETTINGS of a stream"));
        }
        self.guard.frame()?;
        if head.has(flag::ACKNOWLEDGED) {
            return if payload.is_empty() {
                Ok(())
            } else {
                Err(Fatal::frame_size("an acknowledgement that says something"))
            };
        }
        let before = self.theirs.window;
        self.theirs.read(payload)?;
        self.receiving.awaits_settings = false;
        self.greeted.drain(..).for_each(Waker::wake);
        let change = self.theirs.window - before;
        for stream in self.streams.values_mut() {
            stream.send_window += change;
            if stream.send_window > WINDOW_MAX {
                return Err(Fatal::new(Code::FlowControl, "a window that is too large"));
            }
        }
        write_acknowledgement(&mut self.out);
        self.wake_senders();
        self.wake_driver();
        Ok(())
    }

    fn ping(&mut self, head: &FrameHead, payload: &[u8]) -> Result<(), Fatal> {
        let said = whole(payload, "PING of another size")?;
        if head.stream != 0 {
            return Err(Fatal::protocol("PING of a stream"));
        }
        self.guard.frame()?;
        if !head.has(flag::ACKNOWLEDGED) {
            frame::write_ping(true, said, &mut self.out);
        } else if said == LAST_CALL && self.leaving == Leaving::Told {
            self.leaving = Leaving::Left;
            self.say_goodbye();
        } else if let (SIGN_OF_LIFE, Some(asked)) = (said, &mut self.asked) {
            asked.is_answered = true;
        }
        self.wake_driver();
        Ok(())
    }

    fn go_away(&mut self, head: &FrameHead, payload: &[u8]) -> Result<(), Fatal> {
        let Some(last) = payload.first_chunk::<4>().filter(|_| payload.len() >= 8) else {
            return Err(Fatal::frame_size("GOAWAY that is not whole"));
        };
        if head.stream != 0 {
            return Err(Fatal::protocol("GOAWAY of a stream"));
        }
        self.guard.frame()?;
        if self.is_client {
            let last = u32::from_be_bytes(*last) & 0x7fff_ffff;
            self.leaving = Leaving::Left;
            for (id, stream) in &mut self.streams {
                if *id > last {
                    stream.lose(Lost::Unprocessed);
                }
            }
            self.wake_driver();
        }
        Ok(())
    }

    fn window_update(&mut self, head: &FrameHead, payload: &[u8]) -> Result<(), Wrong> {
        let bytes = u32::from_be_bytes(whole(payload, "WINDOW_UPDATE of another size")?);
        let bytes = i64::from(bytes & 0x7fff_ffff);
        self.guard.frame()?;
        if head.stream == 0 {
            if bytes == 0 {
                return Err(Fatal::protocol("WINDOW_UPDATE by nothing").into());
            }
            self.send_window += bytes;
            if self.send_window > WINDOW_MAX {
                return Err(Fatal::new(Code::FlowControl, "a window that is too large").into());
            }
            self.wake_senders();
            return Ok(());
        }
        self.check_stream(head.stream)?;
        let Some(stream) = self.streams.get_mut(&head.stream) else { return Ok(()) };
        if bytes == 0 {
            return Err(Wrong::Stream(Code::Protocol));
        }
        stream.send_window += bytes;
        if stream.send_window > WINDOW_MAX {
            return Err(Wrong::Stream(Code::FlowControl));
        }
        stream.wake_sender();
        Ok(())
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// A payload of one size.
fn whole<const BYTES: usize>(payload: &[u8], what: &'static str) -> Result<[u8; BYTES], Fatal> {
    payload.try_into().map_err(|_| Fatal::frame_size(what))
}

/// Which stream a priority depends on.
fn dependency(priority: &[u8; 5]) -> u32 {
    let [a, b, c, d, _] = *priority;
    u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff
}
