//! One stream of a session.

use std::{collections::VecDeque, task::Waker};

use crate::{
    buffers::{Buffer, Buffers},
    h2::{
        error::Code,
        head::{HeadText, Malformed},
    },
    read_so_far::ReadSoFar,
};

/// Bytes left before and after data, for those who send it on as a chunk of HTTP/1.1: `4000 CRLF`, `CRLF 0 CRLF CRLF`.
const FRAMING_ROOM: usize = 8;

/// What both sides know of a stream, and what has come of it.
#[derive(Debug)]
pub(super) struct Stream {
    /// Came, and was not taken yet. The latest last: interim answers come before the answer.
    pub(super) heads: VecDeque<Result<HeadText, Malformed>>,
    /// The answer's head has come, not an interim one; or the request's.
    pub(super) has_head: bool,
    /// What can be told of a request's head that is too large.
    pub(super) read_so_far: Option<Box<ReadSoFar>>,
    /// Of its body, not taken yet.
    pub(super) data: VecDeque<Buffer>,
    pub(super) trailers: Option<Vec<u8>>,
    /// It was asked to be of another protocol: nothing but data comes after its head.
    pub(super) is_of_protocol: bool,
    /// That protocol is spoken: nobody waits for an answer any more.
    pub(super) is_tunnel: bool,
    /// What of the body is still to come by `content-length`.
    pub(super) announced: Option<u64>,
    /// Its request was HEAD: what `content-length` says is of another answer.
    pub(super) is_head: bool,
    /// The other side sends no more.
    pub(super) they_ended: bool,
    /// We send no more.
    pub(super) we_ended: bool,
    /// It ended before its time, by either side.
    pub(super) lost: Option<Lost>,
    /// What we may send.
    pub(super) send_window: i64,
    /// What the other side may send.
    pub(super) receive_window: i64,
    /// What may lie here unread.
    pub(super) window: u32,
    /// What was taken and the other side does not know of.
    pub(super) taken: u32,
    /// Whoever waits for what comes.
    pub(super) receiver: Option<Waker>,
    /// Whoever waits to send.
    pub(super) sender: Option<Waker>,
}

/// How a stream ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The other side ended it.
    Reset(Code),
    /// What came of it is no message.
    Malformed(Malformed),
    /// Nothing of it was worked on: it can be sent again elsewhere.
    Unprocessed,
    /// This side waits no longer.
    GivenUp,
    /// Its connection ended.
    Closed,
}

impl Stream {
    pub(super) fn new(send_window: i64, window: u32) -> Self {
        Self {
            heads: VecDeque::new(),
            has_head: false,
            read_so_far: None,
            data: VecDeque::new(),
            trailers: None,
            is_of_protocol: false,
            is_tunnel: false,
            announced: None,
            is_head: false,
            they_ended: false,
            we_ended: false,
            lost: None,
            send_window,
            receive_window: i64::from(window),
            window,
            taken: 0,
            receiver: None,
            sender: None,
        }
    }

    /// How long its body will be, by a head that is no interim one.
    pub(super) fn announced_by(&self, head: &HeadText) -> Option<u64> {
        let has_no_body = self.is_head || matches!(head.status, 204 | 304);
        match head.content_length {
            // RFC 9110 §9.3.6
            _ if self.is_of_protocol => None,
            _ if has_no_body => Some(0),
            length => length,
        }
    }

    /// Nothing more comes, and nothing more goes.
    pub(super) fn is_over(&self) -> bool {
        self.lost.is_some() || (self.they_ended && self.we_ended)
    }

    /// Keeps data that came.
    pub(super) fn append(&mut self, mut data: &[u8], buffers: &Buffers) {
        let room = |buffer: &mut Buffer| buffer.spare_mut().len().saturating_sub(FRAMING_ROOM);
        while !data.is_empty() {
            if self.data.back_mut().is_none_or(|last| room(last) == 0) {
                let mut buffer = buffers.take();
                buffer.leave_room(FRAMING_ROOM);
                self.data.push_back(buffer);
            }
            let Some(last) = self.data.back_mut() else { return };
            let bytes = room(last).min(data.len());
            let spare = last.spare_mut();
            spare[..bytes].copy_from_slice(&data[..bytes]);
            last.fill(bytes);
            data = &data[bytes..];
        }
    }

    pub(super) fn lose(&mut self, lost: Lost) {
        self.lost.get_or_insert(lost);
        self.wake();
    }

    /// Whoever waits looks again.
    pub(super) fn wake(&mut self) {
        self.wake_receiver();
        self.wake_sender();
    }

    pub(super) fn wake_receiver(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            receiver.wake();
        }
    }

    pub(super) fn wake_sender(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }
}
