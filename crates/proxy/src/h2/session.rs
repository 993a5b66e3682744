//! One connection in HTTP/2, without the connection: bytes that came go in, bytes to be sent lie in [`Session::out`], and
//! whoever serves a stream, or calls on one, waits here. Either side of RFC 9113; nothing in it knows sockets or clocks.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use hashbrown::HashMap;

use super::{
    Limits,
    error::{Code, Fatal},
    frame::{self, FRAME_BYTES_MAX, Kind, PREFACE, flag},
    guard::Guard,
    head::{HeadText, Malformed},
    hpack::Decoder,
    settings::{Settings, write_settings},
};
use crate::{
    buffers::{Buffer, Buffers},
    limits::H2_ASKED_AGAIN_AFTER,
    read_so_far::ReadSoFar,
};

use receive::Receiving;
use stream::Stream;

pub(crate) use stream::Lost;

mod receive;
mod stream;
#[cfg(test)]
mod tests;

/// Bytes that wait to be sent before streams must wait, and before nothing more is read: what one send takes.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// Streams of ours that ended early, about which the other side may not know yet.
const RESET_KEPT_MAX: usize = 128;

/// What a ping says that asks whether all requests of before it have come.
const LAST_CALL: [u8; 8] = *b"lastcall";

/// What a ping says that asks for a sign of life.
const SIGN_OF_LIFE: [u8; 8] = *b"anybody?";

/// A session, for whoever moves its bytes and whoever has a stream.
pub(crate) type SharedSession = Rc<RefCell<Session>>;

/// Both sides' streams, windows and settings.
#[derive(Debug)]
pub(crate) struct Session {
    is_client: bool,
    limits: Limits,
    /// What the other side asks for.
    theirs: Settings,
    decoder: Decoder,
    guard: Guard,
    receiving: Receiving,
    /// To be sent.
    out: Vec<u8>,
    streams: HashMap<u32, Stream>,
    /// Requests that came and were not taken yet.
    opened: VecDeque<u32>,
    /// The latest stream that the other side, or we as a client, have opened.
    last_stream: u32,
    /// The latest of ours whose head has been taken to be sent.
    sent_stream: u32,
    /// What came and is no request, and was not taken yet: as many as there are in what one receive takes.
    malformed: Vec<(Malformed, Box<ReadSoFar>)>,
    /// Streams that we have ended early.
    reset: VecDeque<u32>,
    /// What we may send on all streams together.
    send_window: i64,
    /// What the other side may send on all streams together.
    receive_window: i64,
    /// What was taken and the other side does not know of.
    taken: u32,
    leaving: Leaving,
    /// Nothing moves any more.
    is_closed: bool,
    /// The other side knows which stream was the last.
    has_said_goodbye: bool,
    /// How often anything came.
    heard: u64,
    /// The last time that a sign of life was asked for, unless more than that has come since.
    asked: Option<Asked>,
    /// What had been heard when a sign of life was due first that has not come, and when that was.
    mute_from: Option<(u64, u64)>,
    /// Whoever sends what lies in `out`.
    driver: Option<Waker>,
    /// Those who wait for what the other side asks for.
    greeted: Vec<Waker>,
    /// How many of them will open a stream then, before anybody else does.
    reserved: usize,
}

/// The other side was asked for a sign of life.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at_ms: u64,
    is_answered: bool,
}

/// How far the farewell is (RFC 9113 §6.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// The other side was told; requests may be on their way.
    Told,
    /// No stream beyond the last is served, or opened.
    Left,
}

/// What came of a body.
#[derive(Debug)]
pub(crate) enum Data {
    Piece(Buffer),
    End,
}

impl Session {
    /// What came and could not be taken in yet is not longer.
    pub(crate) const RECEIVED_BYTES_MAX: usize = frame::HEAD_BYTES + FRAME_BYTES_MAX;

    /// The side of a server.
    pub(crate) fn server(limits: Limits, now_ms: u64) -> Self {
        Self::new(false, limits, now_ms)
    }

    /// The side of a client.
    pub(crate) fn client(limits: Limits, now_ms: u64) -> Self {
        Self::new(true, limits, now_ms)
    }

    fn new(is_client: bool, limits: Limits, now_ms: u64) -> Self {
        let mut out = Vec::new();
        if is_client {
            out.extend_from_slice(PREFACE);
        }
        write_settings(&limits, is_client, &mut out);
        let initial = Settings::default().window;
        let connection_window = i64::from(limits.connection_window);
        if connection_window > initial {
            frame::write_window_update(0, (connection_window - initial) as u32, &mut out);
        }
        Self {
            is_client,
            limits,
            theirs: Settings::default(),
            decoder: Decoder::new(limits.table_bytes_max as usize),
            guard: Guard::new(now_ms),
            receiving: Receiving::new(is_client),
            out,
            streams: HashMap::new(),
            opened: VecDeque::new(),
            malformed: Vec::new(),
            last_stream: 0,
            sent_stream: 0,
            reset: VecDeque::new(),
            send_window: initial,
            receive_window: connection_window.max(initial),
            taken: 0,
            leaving: Leaving::No,
            is_closed: false,
            has_said_goodbye: false,
            heard: 0,
            asked: None,
            mute_from: None,
            driver: None,
            greeted: Vec::new(),
            reserved: 0,
        }
    }

    /// Lends it memory to write what is to be sent to, where it has none: while it waits it has none.
    pub(crate) fn lend(&mut self, buffers: &Buffers) {
        if self.out.capacity() == 0 {
            self.out = buffers.take_write();
        }
    }

    /// It is the side of whoever asks.
    pub(crate) fn is_client(&self) -> bool {
        self.is_client
    }

    /// What is to be sent. Whoever takes it calls [`Self::sent`] when it has gone.
    pub(crate) fn take_out(&mut self, memory: Vec<u8>) -> Vec<u8> {
        debug_assert!(memory.is_empty(), "all of it is frames");
        self.sent_stream = self.last_stream;
        std::mem::replace(&mut self.out, memory)
    }

    pub(crate) fn has_out(&self) -> bool {
        !self.out.is_empty()
    }

    /// There is room again.
    pub(crate) fn sent(&mut self) {
        self.wake_senders();
    }

    /// Nothing more is read until what there is has been sent: else answers to pings would pile up.
    pub(crate) fn may_receive(&self) -> bool {
        self.out.len() < OUT_BYTES_MAX
    }

    /// Who is woken when there is something to send.
    pub(crate) fn set_driver(&mut self, driver: &Waker) {
        if self.driver.as_ref().is_none_or(|known| !known.will_wake(driver)) {
            self.driver = Some(driver.clone());
        }
    }

    /// The next request that came.
    pub(crate) fn next_request(&mut self) -> Option<u32> {
        self.opened.pop_front()
    }

    /// What came since it was asked last, and is no request.
    #[inline]
    pub(crate) fn take_malformed(&mut self) -> Vec<(Malformed, Box<ReadSoFar>)> {
        std::mem::take(&mut self.malformed)
    }

    /// What can be told of a head that is too large.
    pub(crate) fn take_read_so_far(&mut self, id: u32) -> ReadSoFar {
        let read = self.streams.get_mut(&id).and_then(|stream| stream.read_so_far.take());
        read.map(|read| *read).unwrap_or_default()
    }

    /// Streams that somebody serves, or waits for.
    pub(crate) fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Opens a stream for a request. `None`: not on this connection, not now.
    pub(crate) fn open(&mut self, block: &[u8], is_head: bool, ends: bool) -> Option<u32> {
        debug_assert!(self.is_client, "only clients open streams");
        if !self.may_open() {
            return None;
        }
        let id = if self.last_stream == 0 { 1 } else { self.last_stream + 2 };
        self.last_stream = id;
        let mut stream = Stream::new(self.theirs.window, self.limits.first_window);
        stream.is_head = is_head;
        stream.we_ended = ends;
        self.streams.insert(id, stream);
        frame::write_headers(block, id, ends, self.theirs.frame_bytes_max, &mut self.out);
        self.wake_driver();
        Some(id)
    }

    /// Opens a stream that is to be of another protocol. `None`: not on this connection, not now.
    pub(crate) fn open_for_protocol(&mut self, block: &[u8]) -> Option<u32> {
        let id = self.open(block, false, false)?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.is_of_protocol = true;
        }
        Some(id)
    }

    /// Both sides have agreed to another protocol, and speak it from now on.
    pub(crate) fn begin_tunnel(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.is_tunnel = true;
        }
    }

    /// Whether streams may be opened for other protocols (RFC 8441), when the other side has said what it asks for.
    pub(crate) fn poll_takes_protocols(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<bool, Lost>> {
        if self.is_closed {
            return Poll::Ready(Err(Lost::Closed));
        }
        if self.is_greeted() {
            return Poll::Ready(Ok(self.theirs.takes_protocols));
        }
        if !self.greeted.iter().any(|known| known.will_wake(context.waker())) {
            self.greeted.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Keeps a place for a stream that is opened later.
    pub(crate) fn reserve(&mut self) {
        self.reserved += 1;
    }

    /// Gives it up, or takes it.
    pub(crate) fn unreserve(&mut self) {
        debug_assert!(self.reserved > 0, "who gives a place up has one");
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// The other side has said what it asks for.
    pub(crate) fn is_greeted(&self) -> bool {
        self.receiving.is_greeted()
    }

    /// Whether another stream can be opened now. Until the other side has said how many it takes, that is one.
    pub(crate) fn may_open(&self) -> bool {
        !self.is_closed
            && self.leaving == Leaving::No
            && (self.is_greeted() || (self.last_stream == 0 && self.reserved == 0))
            && ((self.streams.len() + self.reserved) as u64) < u64::from(self.theirs.streams_max)
            && i64::from(self.last_stream) + 2 <= frame::WINDOW_MAX
    }

    /// Whether an answer has not begun to come.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.streams.values().any(|stream| !stream.has_head && stream.lost.is_none())
    }

    /// Whether all of a request has been said by this side. What follows one for another protocol is none of it.
    pub(crate) fn has_said_all(&self, id: u32) -> bool {
        let is_all = |it: &Stream| it.we_ended || (it.is_of_protocol && !it.has_head);
        self.streams.get(&id).is_some_and(is_all)
    }

    /// Changes whenever anything comes.
    pub(crate) fn heard(&self) -> u64 {
        self.heard
    }

    /// Asks the other side for a sign of life, unless it was asked a short while ago and has said nothing but that it is
    /// there. Whether one is due.
    pub(crate) fn ask(&mut self, now_ms: u64) -> bool {
        let is_due = self.ask_if_may_be(now_ms);
        if is_due && self.mute_from.is_none_or(|(heard, _)| heard != self.heard) {
            self.mute_from = Some((self.heard, now_ms));
        }
        is_due
    }

    /// Whether a sign of life has been due for so long, and nothing at all has come.
    pub(crate) fn is_mute_for(&self, milliseconds: u64, now_ms: u64) -> bool {
        self.mute_from
            .is_some_and(|(heard, at_ms)| heard == self.heard && now_ms >= at_ms + milliseconds)
    }

    fn ask_if_may_be(&mut self, now_ms: u64) -> bool {
        let again_after_ms = H2_ASKED_AGAIN_AFTER.as_millis() as u64;
        match self.asked {
            Some(Asked { is_answered: false, .. }) => return true,
            Some(Asked { at_ms, .. }) if now_ms < at_ms + again_after_ms => return false,
            _ => {}
        }
        self.asked = Some(Asked { at_ms: now_ms, is_answered: false });
        frame::write_ping(false, SIGN_OF_LIFE, &mut self.out);
        self.wake_driver();
        true
    }

    /// Waits for no answer that has not begun to come, and opens no stream any more.
    pub(crate) fn give_up_waiting(&mut self) {
        let waiting = self.streams.iter_mut().filter(|(_, it)| !it.has_head && it.lost.is_none());
        let ids: Vec<u32> = waiting
            .map(|(id, stream)| {
                stream.lose(Lost::GivenUp);
                *id
            })
            .collect();
        for id in ids {
            self.write_reset(id, Code::Cancel);
        }
        self.leave();
    }

    /// No stream will be opened on it any more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_closed || self.leaving != Leaving::No
    }

    /// The next head that came of a stream.
    pub(crate) fn poll_head(
        &mut self,
        id: u32,
        context: &mut Context<'_>,
    ) -> Poll<Result<HeadText, Lost>> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Lost::Closed));
        };
        if let Some(head) = stream.heads.pop_front() {
            return Poll::Ready(head.map_err(Lost::Malformed));
        }
        if let Some(lost) = stream.lost {
            return Poll::Ready(Err(lost));
        }
        stream.receiver = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether all of a body was taken.
    pub(crate) fn has_ended(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(|stream| stream.they_ended && stream.data.is_empty())
    }

    /// Whether a stream has ended, and nothing is left of it to be taken, be it trailers.
    pub(crate) fn has_ended_empty(&self, id: u32) -> bool {
        self.has_ended(id) && self.streams.get(&id).is_some_and(|it| it.trailers.is_none())
    }

    /// What has arrived of a body. Never waits.
    pub(crate) fn arrived(&mut self, id: u32) -> Option<Buffer> {
        let stream = self.streams.get_mut(&id)?;
        let piece = stream.data.pop_front()?;
        self.note_taken(id, piece.filled().len());
        Some(piece)
    }

    /// The next of a body.
    pub(crate) fn poll_data(
        &mut self,
        id: u32,
        context: &mut Context<'_>,
    ) -> Poll<Result<Data, Lost>> {
        if let Some(piece) = self.arrived(id) {
            return Poll::Ready(Ok(Data::Piece(piece)));
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Lost::Closed));
        };
        if stream.they_ended {
            return Poll::Ready(Ok(Data::End));
        }
        if let Some(lost) = stream.lost {
            return Poll::Ready(Err(lost));
        }
        stream.receiver = Some(context.waker().clone());
        Poll::Pending
    }

    /// Ready when nobody waits at the other side any more.
    pub(crate) fn poll_lost(&mut self, id: u32, context: &mut Context<'_>) -> Poll<Lost> {
        match self.streams.get_mut(&id) {
            None => Poll::Ready(Lost::Closed),
            Some(Stream { lost: Some(lost), .. }) => Poll::Ready(*lost),
            Some(stream) => {
                stream.receiver = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Ready when the other side broke off what it was saying. Who has said all and then goes, in whatever way, takes nothing of it
    /// back (RFC 9113 §8.1): it is passed on to its end.
    pub(crate) fn poll_broken_off(&mut self, id: u32, context: &mut Context<'_>) -> Poll<Lost> {
        match self.streams.get(&id) {
            Some(stream) if stream.they_ended => Poll::Pending,
            _ => self.poll_lost(id, context),
        }
    }

    /// The fields that came after a body, as lines.
    pub(crate) fn take_trailers(&mut self, id: u32) -> Option<Vec<u8>> {
        self.streams.get_mut(&id)?.trailers.take()
    }

    /// Sends a head, or trailers, of a stream that is open, when there is room.
    pub(crate) fn poll_send_head(
        &mut self,
        id: u32,
        context: &mut Context<'_>,
        block: &[u8],
        ends: bool,
    ) -> Poll<Result<(), Lost>> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Lost::Closed));
        };
        if let Some(lost) = stream.lost {
            return Poll::Ready(Err(lost));
        }
        debug_assert!(!stream.we_ended, "nothing follows the end");
        if self.out.len() >= OUT_BYTES_MAX {
            stream.sender = Some(context.waker().clone());
            return Poll::Pending;
        }
        stream.we_ended = ends;
        frame::write_headers(block, id, ends, self.theirs.frame_bytes_max, &mut self.out);
        self.wake_driver();
        Poll::Ready(Ok(()))
    }

    /// Sends as much of a body as may go now. How many bytes; all of them go with the end.
    pub(crate) fn poll_send(
        &mut self,
        id: u32,
        context: &mut Context<'_>,
        bytes: &[u8],
        ends: bool,
    ) -> Poll<Result<usize, Lost>> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(Lost::Closed));
        };
        if let Some(lost) = stream.lost {
            return Poll::Ready(Err(lost));
        }
        // Nothing follows the end: the other side would take it for a fault of all of the connection.
        if stream.we_ended {
            return Poll::Ready(Err(Lost::Closed));
        }
        let window = stream.send_window.min(self.send_window).max(0) as usize;
        let part_bytes = bytes.len().min(window).min(self.theirs.frame_bytes_max);
        let is_end_alone = bytes.is_empty() && ends;
        if (part_bytes == 0 && !is_end_alone) || self.out.len() >= OUT_BYTES_MAX {
            if bytes.is_empty() && !ends {
                return Poll::Ready(Ok(0));
            }
            stream.sender = Some(context.waker().clone());
            return Poll::Pending;
        }
        stream.send_window -= part_bytes as i64;
        self.send_window -= part_bytes as i64;
        stream.we_ended = ends && part_bytes == bytes.len();
        let flags = if stream.we_ended { flag::END_STREAM } else { 0 };
        frame::write_head(part_bytes, Kind::Data, flags, id, &mut self.out);
        self.out.extend_from_slice(&bytes[..part_bytes]);
        self.guard.sent();
        self.wake_driver();
        Poll::Ready(Ok(part_bytes))
    }

    /// Whoever served a stream, or waited for it, is done with it: what is not at its end ends with this code.
    pub(crate) fn release(&mut self, id: u32, code: Code, buffers: &Buffers) {
        let Some(mut stream) = self.streams.remove(&id) else { return };
        for piece in stream.data.drain(..) {
            if !stream.is_of_protocol {
                self.give_up_data(piece.filled().len());
            }
            buffers.give(piece);
        }
        if !stream.is_over() && !self.is_closed {
            self.write_reset(id, code);
        } else if stream.lost.is_none() {
            self.guard.served();
        }
        if self.is_client || self.leaving != Leaving::No {
            // Another may open one, or the last was waited for.
            self.wake_driver();
        }
    }

    /// The other side has asked for what nobody could do in the time it leaves: as if it had reset the stream, and no
    /// request that was served.
    pub(crate) fn charge(&mut self, id: u32) {
        if self.limits.is_shared {
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.is_over() {
            stream.lost.get_or_insert(Lost::GivenUp);
        }
        if let Err(fatal) = self.guard.reset() {
            self.fail(fatal);
        }
    }

    /// Begins to say goodbye: what comes from here on may be refused. What is served is served to its end.
    pub(crate) fn leave(&mut self) {
        if self.leaving != Leaving::No || self.is_closed {
            return;
        }
        if self.is_client {
            self.leaving = Leaving::Left;
            return self.wake_driver();
        }
        self.leaving = Leaving::Told;
        frame::write_go_away(frame::WINDOW_MAX as u32, Code::NoError, &mut self.out);
        // What was on its way when it was told has come before the answer to this.
        frame::write_ping(false, LAST_CALL, &mut self.out);
        self.wake_driver();
    }

    /// A head has begun to come, and is not whole.
    pub(crate) fn is_within_head(&self) -> bool {
        self.receiving.is_within_head()
    }

    /// Tells the other side in order that nothing more is served, unless it was told worse.
    pub(crate) fn say_goodbye(&mut self) {
        if !std::mem::replace(&mut self.has_said_goodbye, true) {
            frame::write_go_away(self.last_theirs(), Code::NoError, &mut self.out);
        }
    }

    /// Nothing is served any more, and nothing will come.
    pub(crate) fn is_done(&self) -> bool {
        self.is_closed || (self.leaving == Leaving::Left && self.streams.is_empty())
    }

    /// The connection has ended.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        let (is_client, sent_stream) = (self.is_client, self.sent_stream);
        for (id, stream) in &mut self.streams {
            if !(stream.they_ended && stream.we_ended) {
                let is_unsent = is_client && *id > sent_stream;
                stream.lose(if is_unsent { Lost::Unprocessed } else { Lost::Closed });
            }
        }
        self.greeted.drain(..).for_each(Waker::wake);
        self.wake_driver();
    }

    /// Ends the connection, telling why.
    pub(crate) fn fail(&mut self, fatal: Fatal) {
        self.has_said_goodbye = true;
        frame::write_go_away(self.last_theirs(), fatal.code, &mut self.out);
        self.close();
    }

    /// What still comes of a stream means nothing: this side has ended it.
    fn was_ended_here(&self, id: u32) -> bool {
        self.reset.contains(&id) || (self.is_client && !self.streams.contains_key(&id))
    }

    fn last_theirs(&self) -> u32 {
        if self.is_client { 0 } else { self.last_stream }
    }

    /// Ends a stream early. What still comes of it means nothing.
    fn write_reset(&mut self, id: u32, code: Code) {
        frame::write_reset(id, code, &mut self.out);
        if self.reset.len() == RESET_KEPT_MAX {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
        self.wake_driver();
    }

    /// Lets the other side send as much again as was taken, when that is worth a frame.
    fn note_taken(&mut self, id: u32, bytes: usize) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.taken += bytes as u32;
            let is_given_up = stream.is_of_protocol;
            if !stream.they_ended && stream.taken >= stream.window / 2 {
                stream.receive_window += i64::from(stream.taken);
                frame::write_window_update(id, std::mem::take(&mut stream.taken), &mut self.out);
                self.wake_driver();
            }
            if is_given_up {
                return;
            }
        }
        self.give_up_data(bytes);
    }

    /// Allows a stream more that has sent much of its first window, unless it is of another protocol: what lies here of those
    /// others do not wait for, so that it must be less.
    fn widen(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Limits { stream_window, first_window, .. } = self.limits;
        let has_much = stream.receive_window < i64::from(first_window / 4 * 3);
        if has_much && stream.window < stream_window && !stream.is_of_protocol {
            let more = stream_window - stream.window;
            stream.window = stream_window;
            stream.receive_window += i64::from(more);
            frame::write_window_update(id, more, &mut self.out);
            self.wake_driver();
        }
    }

    /// The same for all streams together.
    fn give_up_data(&mut self, bytes: usize) {
        self.taken += bytes as u32;
        if self.taken >= self.limits.connection_window / 2 {
            self.receive_window += i64::from(self.taken);
            frame::write_window_update(0, std::mem::take(&mut self.taken), &mut self.out);
            self.wake_driver();
        }
    }

    fn wake_senders(&mut self) {
        self.streams.values_mut().for_each(Stream::wake_sender);
    }

    fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}
