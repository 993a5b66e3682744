//! The TLS of one connection: bytes in the clear on one side, records on the other. Holds no memory while nothing is
//! under way: what comes and goes passes through memory that all connections of a thread share.

use std::{
    cell::RefCell,
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use rustls::{
    CommonState, Error, HandshakeKind, ProtocolVersion,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{
        ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
        WriteTraffic,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Bytes in the clear of a record at most (RFC 8446 §5.1).
const CLEAR_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a record at most, with its header and what TLS 1.2 may add (RFC 5246 §6.2.3).
const RECORD_BYTES_MAX: usize = 5 + CLEAR_BYTES_MAX + 2048;

/// Bytes that a record adds to what is in it with the ciphers that are spoken: enough for all of them.
const ADDED_BYTES: usize = 40;

/// Bytes received at once at most, with what waits for its end: a message of a handshake has 64 KiB at most, and a record
/// more is behind it.
const RECEIVED_BYTES_MAX: usize = 64 * 1024 + 2 * RECORD_BYTES_MAX;

/// Bytes in the clear that are sent at once: four records. More would wait in memory for a client that reads slowly.
const SENT_BYTES_MAX: usize = 64 * 1024;

/// Memory that the records of a thread's connections pass through.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    received: RefCell<Vec<u8>>,
    sending: RefCell<Vec<u8>>,
}

/// The TLS of one connection until both sides agree. Any thread may go on with it.
pub(crate) struct Handshake {
    records: Records,
    /// The beginning of a record, or of a message in several.
    received: Vec<u8>,
}

/// The TLS of one connection on which both sides have agreed.
pub(crate) struct Session {
    records: Records,
    scratch: Rc<Scratch>,
    /// The beginning of a record.
    received: Vec<u8>,
    /// From where on what is in the clear was not taken yet.
    taken: usize,
    /// From where on records on their way out were not sent yet.
    sent: usize,
    /// What whoever sends must not send again: its bytes are in records on their way.
    promised: usize,
    said_goodbye: bool,
    failed: Option<Error>,
    /// Nothing goes out any more: the stream itself said so.
    is_broken: Option<io::ErrorKind>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("failed", &self.failed).finish_non_exhaustive()
    }
}

/// What is made of records, and made into records.
struct Records {
    side: Side,
    clear: Vec<u8>,
    /// On their way out.
    sending: Vec<u8>,
    /// The other side has said that nothing more comes.
    has_ended: bool,
}

/// Which of the two sides is this one.
pub(crate) enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl From<UnbufferedServerConnection> for Side {
    fn from(connection: UnbufferedServerConnection) -> Self {
        Self::Server(connection)
    }
}

impl From<UnbufferedClientConnection> for Side {
    fn from(connection: UnbufferedClientConnection) -> Self {
        Self::Client(connection)
    }
}

impl Side {
    fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    /// Works on what was received until TLS has something to say, or nothing more to do.
    fn step(
        &mut self,
        received: &mut [u8],
        sending: &mut Vec<u8>,
        say: &Say<'_>,
        clear: impl FnMut(&[u8]),
    ) -> (usize, Result<Step, Error>) {
        match self {
            Self::Server(connection) => {
                take_step(connection.process_tls_records(received), sending, say, clear)
            }
            Self::Client(connection) => {
                take_step(connection.process_tls_records(received), sending, say, clear)
            }
        }
    }
}

/// What is to be said once TLS has nothing more to say itself.
enum Say<'s> {
    Nothing,
    Data(&'s [u8], &'s [u8]),
    Goodbye,
}

/// What came of a step.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There may be more to do.
    Again,
    /// The other side has said that nothing more comes.
    Ended,
    /// The handshake needs more of what the other side says.
    Blocked,
    /// All that has come was taken in, and what was to be said is said.
    Ready,
    /// Both sides have said goodbye.
    Closed,
}

impl Handshake {
    pub(crate) fn new(side: impl Into<Side>) -> Self {
        let (clear, sending) = (Vec::new(), Vec::new());
        let records = Records { side: side.into(), clear, sending, has_ended: false };
        Self { records, received: Vec::new() }
    }

    /// Takes what was received, for [`Self::go_on`].
    pub(crate) fn take_in(&mut self, received: &[u8]) -> Result<(), Error> {
        if self.received.len() + received.len() > RECEIVED_BYTES_MAX {
            return Err(Error::General("it says too much in its handshake".to_owned()));
        }
        self.received.extend_from_slice(received);
        Ok(())
    }

    /// Goes on by what was received, which may take as long as many requests do. Whether it is done. What must go out is then
    /// [`Self::take_sending`]'s, after an error as well.
    pub(crate) fn go_on(&mut self) -> Result<bool, Error> {
        let mut bytes = std::mem::take(&mut self.received);
        let (taken_in, outcome) = self.records.work(&mut bytes, &mut Room::none(), &Say::Nothing);
        bytes.drain(..taken_in);
        if !bytes.is_empty() {
            self.received = bytes;
        }
        outcome.map(|_| !self.records.side.common().is_handshaking())
    }

    /// Whether the client was only asked for another hello, which has cost nothing.
    pub(crate) fn asks_for_another_hello(&self) -> bool {
        let kind = self.records.side.common().handshake_kind();
        kind == Some(rustls::HandshakeKind::FullWithHelloRetryRequest)
    }

    /// What the other side is to be told.
    pub(crate) fn take_sending(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.records.sending)
    }

    /// What both sides have agreed on, on the thread that goes on with it.
    pub(crate) fn into_session(self, scratch: &Rc<Scratch>) -> Session {
        let Self { records, received } = self;
        Session {
            records,
            scratch: Rc::clone(scratch),
            received,
            taken: 0,
            sent: 0,
            promised: 0,
            said_goodbye: false,
            failed: None,
            is_broken: None,
        }
    }
}

impl Records {
    /// Takes in records until there is nothing more to do, then says what is to be said. How many bytes were taken in.
    fn work(
        &mut self,
        received: &mut [u8],
        room: &mut Room<'_>,
        say: &Say<'_>,
    ) -> (usize, Result<Step, Error>) {
        let mut taken_in = 0;
        loop {
            match self.step(received, &mut taken_in, room, say) {
                Ok(Step::Again) => {}
                Ok(Step::Ended) => self.has_ended = true,
                Ok(step) => return (taken_in, Ok(step)),
                Err(error) => {
                    // What there is to be told of it. What has failed must not be looked at again.
                    while self.side.common().wants_write() {
                        let _ = self.step(received, &mut taken_in, room, &Say::Nothing);
                    }
                    return (taken_in, Err(error));
                }
            }
        }
    }

    fn step(
        &mut self,
        received: &mut [u8],
        taken_in: &mut usize,
        room: &mut Room<'_>,
        say: &Say<'_>,
    ) -> Result<Step, Error> {
        let (received, clear) = (&mut received[*taken_in..], &mut self.clear);
        let (discarded, step) = self.side.step(received, &mut self.sending, say, |bytes| {
            room.take(bytes, clear);
        });
        *taken_in += discarded;
        step
    }
}

impl Session {
    /// What is spoken inside, as agreed.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.records.side.common().alpn_protocol()
    }

    /// Whether it is spoken in the newest version.
    pub(crate) fn is_newest_version(&self) -> bool {
        self.records.side.common().protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// Whether the client went on with a session of before.
    pub(crate) fn is_resumed(&self) -> bool {
        self.records.side.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Receives what is in the clear. None: the other side has ended.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut TcpStream,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(taken) = self.take_clear(room) {
                return Poll::Ready(Ok(taken));
            }
            if let Some(settled) = self.settled() {
                return Poll::Ready(settled);
            }
            let filled = self.receive(room, |bytes| {
                let mut read = ReadBuf::new(bytes);
                ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
                Poll::Ready(Ok(read.filled().len()))
            });
            let filled = ready!(filled)?;
            if self.failed.is_some() && self.promised == 0 {
                // The alert, as far as the kernel takes it at once.
                let _ = stream.try_write(&std::mem::take(&mut self.records.sending));
            }
            if filled > 0 {
                return Poll::Ready(Ok(filled));
            }
        }
    }

    /// What came before, and was not taken yet.
    fn take_clear(&mut self, room: &mut [u8]) -> Option<usize> {
        if self.records.clear.is_empty() {
            return None;
        }
        let left = &self.records.clear[self.taken..];
        let taken = left.len().min(room.len());
        room[..taken].copy_from_slice(&left[..taken]);
        self.taken += taken;
        if self.taken == self.records.clear.len() {
            self.records.clear = Vec::new();
            self.taken = 0;
        }
        Some(taken)
    }

    /// What is read from now on, where that is known.
    fn settled(&self) -> Option<io::Result<usize>> {
        match &self.failed {
            Some(error) => Some(Err(invalid(error.clone()))),
            None => self.records.has_ended.then_some(Ok(0)),
        }
    }

    /// Receives records into the thread's memory, and takes in what is whole. How many bytes in the clear there are in
    /// `room`; none: look again.
    fn receive(
        &mut self,
        room: &mut [u8],
        read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let scratch = Rc::clone(&self.scratch);
        let mut memory = scratch.received.borrow_mut();
        if memory.is_empty() {
            memory.resize(RECEIVED_BYTES_MAX, 0);
        }
        let kept = self.received.len();
        memory[..kept].copy_from_slice(&self.received);
        // No more than finds room in the clear, but a whole record.
        let wanted = (room.len() + room.len() / 16).max(RECORD_BYTES_MAX);
        let end = memory.len().min(kept + wanted);
        let received = ready!(read(&mut memory[kept..end]))?;
        if received == 0 {
            // A client may end so; what it has sent by then has its own end. Of an instance's answer it may be the end.
            return Poll::Ready(match &self.records.side {
                Side::Server(_) => {
                    self.records.has_ended = true;
                    Ok(0)
                }
                Side::Client(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            });
        }
        let mut room = Room { bytes: room, filled: 0 };
        let end = kept + received;
        let (taken_in, outcome) = self.records.work(&mut memory[..end], &mut room, &Say::Nothing);
        self.received.clear();
        if taken_in < end {
            self.received.extend_from_slice(&memory[taken_in..end]);
        } else {
            self.received = Vec::new();
        }
        self.failed = outcome.err();
        Poll::Ready(Ok(room.filled))
    }

    /// Whether nothing in the clear has arrived, nor the end. What TLS itself says is taken in.
    pub(crate) fn is_quiet(&mut self, stream: &TcpStream) -> bool {
        while self.records.clear.is_empty() && self.settled().is_none() {
            let read = self.receive(&mut [], |bytes| match stream.try_read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                read => Poll::Ready(read),
            });
            match read {
                Poll::Pending => return true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return false,
            }
        }
        false
    }

    /// Sends bytes in the clear: how many of both together are taken, once they have gone out. Until then whoever sends
    /// comes again with the same.
    pub(crate) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut TcpStream,
        [head, body]: [&[u8]; 2],
        moved: impl Fn(),
    ) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.is_broken {
            return Poll::Ready(Err(kind.into()));
        }
        let scratch = Rc::clone(&self.scratch);
        let mut memory = scratch.sending.borrow_mut();
        // Records of another connection are nothing to this one.
        memory.clear();
        if self.promised == 0 {
            let head = &head[..head.len().min(SENT_BYTES_MAX)];
            let body = &body[..body.len().min(SENT_BYTES_MAX - head.len())];
            if let Err(error) = self.write(&Say::Data(head, body), &mut memory) {
                memory.clear();
                return Poll::Ready(Err(error));
            }
            self.promised = head.len() + body.len();
        } else {
            std::mem::swap(&mut *memory, &mut self.records.sending);
        }
        let outcome = self.send_records(context, stream, &memory, moved);
        if outcome.is_pending() {
            // What does not go out at once waits with the connection.
            std::mem::swap(&mut *memory, &mut self.records.sending);
            return Poll::Pending;
        }
        memory.clear();
        self.records.sending = Vec::new();
        self.sent = 0;
        Poll::Ready(match ready!(outcome) {
            Ok(()) => {
                let promised = std::mem::take(&mut self.promised);
                Ok(promised.min(head.len() + body.len()))
            }
            Err(error) => {
                self.is_broken = Some(error.kind());
                Err(error)
            }
        })
    }

    /// Sends what of the records was not sent yet.
    fn send_records(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut TcpStream,
        records: &[u8],
        moved: impl Fn(),
    ) -> Poll<io::Result<()>> {
        while let Some(left) = records.get(self.sent..).filter(|left| !left.is_empty()) {
            match ready!(Pin::new(&mut *stream).poll_write(context, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.sent += bytes,
            }
            if self.sent < records.len() {
                moved();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes records for what is to be said into the thread's memory.
    fn write(&mut self, say: &Say<'_>, memory: &mut Vec<u8>) -> io::Result<()> {
        if let Some(error) = &self.failed {
            return Err(invalid(error.clone()));
        }
        memory.append(&mut self.records.sending);
        std::mem::swap(memory, &mut self.records.sending);
        let mut received = std::mem::take(&mut self.received);
        let (taken_in, outcome) = self.records.work(&mut received, &mut Room::none(), say);
        if taken_in < received.len() {
            received.drain(..taken_in);
            self.received = received;
        }
        std::mem::swap(memory, &mut self.records.sending);
        match outcome {
            Ok(Step::Ready) => Ok(()),
            Ok(_) => Err(io::ErrorKind::NotConnected.into()),
            Err(error) => {
                self.failed = Some(error.clone());
                Err(invalid(error))
            }
        }
    }

    /// Says that nothing more comes, as far as the kernel takes it at once. Not after something that is not whole.
    pub(crate) fn say_goodbye(&mut self, stream: &TcpStream) {
        let is_over = self.failed.is_some() || self.is_broken.is_some();
        if self.said_goodbye || self.promised > 0 || is_over {
            return;
        }
        self.said_goodbye = true;
        let scratch = Rc::clone(&self.scratch);
        let mut memory = scratch.sending.borrow_mut();
        memory.clear();
        if self.write(&Say::Goodbye, &mut memory).is_ok() {
            // Whoever has gone needs no farewell.
            let _ = stream.try_write(&memory);
        }
        memory.clear();
    }
}

/// Where bytes in the clear are wanted.
struct Room<'r> {
    bytes: &'r mut [u8],
    filled: usize,
}

impl Room<'_> {
    /// Nothing is wanted.
    fn none() -> Self {
        Self { bytes: &mut [], filled: 0 }
    }

    /// Takes what finds room; the rest is kept.
    fn take(&mut self, bytes: &[u8], rest: &mut Vec<u8>) {
        let left = if rest.is_empty() { &mut self.bytes[self.filled..] } else { &mut [] };
        let taken = left.len().min(bytes.len());
        left[..taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        rest.extend_from_slice(&bytes[taken..]);
    }
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Does what a state asks for. How many of the received bytes are used up.
fn take_step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    sending: &mut Vec<u8>,
    say: &Say<'_>,
    mut clear: impl FnMut(&[u8]),
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    clear(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Again),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let encode = |room: &mut [u8]| match data.encode(room) {
                Ok(bytes) => Ok(bytes),
                Err(EncodeError::InsufficientSize(needed)) => Err(Unwritten::needs(needed)),
                Err(EncodeError::AlreadyEncoded) => Ok(0),
            };
            write_with(sending, 0, encode).map(|()| Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It goes out before anything that is said later.
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            say_it(&mut traffic, say, sending).map(|()| Step::Ready)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::Ended),
        Ok(ConnectionState::Closed) => Ok(Step::Closed),
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Blocked),
        Ok(other) => Err(Error::General(format!("unexpected: {other:?}"))),
    };
    (discard, step)
}

fn say_it<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    say: &Say<'_>,
    sending: &mut Vec<u8>,
) -> Result<(), Error> {
    let written = |written: Result<usize, EncryptError>| {
        written.map_err(|error| match error {
            EncryptError::InsufficientSize(needed) => Unwritten::needs(needed),
            EncryptError::EncryptExhausted => Unwritten::Failed(Error::EncryptError),
        })
    };
    match say {
        Say::Nothing => Ok(()),
        Say::Goodbye => write_with(sending, 0, |room| written(traffic.queue_close_notify(room))),
        Say::Data(head, body) => {
            for part in [head, body].into_iter().filter(|part| !part.is_empty()) {
                let records = part.len() / CLEAR_BYTES_MAX + 1;
                let room = part.len() + records * ADDED_BYTES;
                write_with(sending, room, |room| written(traffic.encrypt(part, room)))?;
            }
            Ok(())
        }
    }
}

/// Why something was not written.
enum Unwritten {
    /// It needs so much room.
    Needs(usize),
    Failed(Error),
}

impl Unwritten {
    fn needs(InsufficientSizeError { required_size }: InsufficientSizeError) -> Self {
        Self::Needs(required_size)
    }
}

/// Appends what `write` writes: into so much room, or as much as it says it needs.
fn write_with(
    out: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Unwritten>,
) -> Result<(), Error> {
    let start = out.len();
    loop {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(bytes) => {
                out.truncate(start + bytes);
                return Ok(());
            }
            Err(Unwritten::Needs(bytes)) => room = bytes,
            Err(Unwritten::Failed(error)) => {
                out.truncate(start);
                return Err(error);
            }
        }
    }
}
