//! Timeouts, and what else bounds a connection or a request.

use std::time::Duration;

use telemetry::shortage;

/// One limit, for the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// What it is called in the code.
    pub name: &'static str,
    /// With its unit, where the name does not say it.
    pub value: String,
    /// What it bounds, and why.
    pub reason: &'static str,
}

macro_rules! limits {
    ($($(#[doc = $reason:literal])* $name:ident: $kind:ty = $value:expr;)*) => {
        $($(#[doc = $reason])* pub(crate) const $name: $kind = $value;)*

        /// All of them, in the order of their declaration.
        pub fn all() -> Vec<Limit> {
            vec![$(Limit {
                name: stringify!($name),
                value: format!("{:?}", $name),
                reason: concat!($($reason),*).trim(),
            }),*]
        }
    };
}

limits! {
    /// Connections of callers per process at most, however many files it may have open: each costs some kilobytes idle.
    CONNECTIONS_MAX: u64 = 65_536;
    /// Files kept back from callers' connections, at most a quarter of all: listeners, admin, API, discovery, the disk.
    FILES_RESERVED_MAX: u64 = 256;
    /// How long accepting pauses when the process has no file descriptors left.
    ACCEPT_PAUSE: Duration = Duration::from_millis(100);
    /// How long a connection may be silent before the kernel asks whether the other side is still there.
    SILENT_BEFORE_ASKED: Duration = Duration::from_secs(15);
    /// How often it asks then.
    ASKED_EVERY: Duration = Duration::from_secs(5);
    /// How often in vain until the connection is given up: a vanished peer is noticed within half a minute.
    ASKED_MAX: u32 = 3;
    /// How long sent bytes may stay unconfirmed at least, however short the timeouts are: longer than networks lose packets
    /// for.
    UNCONFIRMED_MIN: Duration = Duration::from_secs(30);
    /// Requests in a row that an instance leaves unanswered, or breaks off, before it is put aside: hung is not healthy.
    /// One or two may be the request's fault.
    UNANSWERED_IN_A_ROW_MAX: u32 = 3;
    /// How long a request waits for an instance that its source does not hear from either, before it is put aside for as
    /// long as such an instance is kept, or until it is heard: long enough for an answer that is slow, and not much more.
    SILENT_WAITED_FOR: Duration = Duration::from_secs(3);
    /// How long an instance may take to begin its answer before that counts as unanswered, where its caller may wait for ever.
    /// In calls of gRPC what counts is a sign of life (`--sign-of-life-timeout-seconds`).
    HELD_HUNG_AFTER: Duration = Duration::from_secs(60);
    /// How long a caller must have waited for its leaving to count as unanswered: one that leaves earlier has changed its
    /// mind.
    ABANDONED_AFTER: Duration = Duration::from_secs(2);
    /// How long after its start a proxy that was here before takes whom it cannot reach for coming back as it is.
    FIRST_MOMENTS: Duration = Duration::from_secs(10);
    /// How long it waits for each of them, where nobody else of the lane is there: as long as a connect may take.
    COMES_BACK_WITHIN: Duration = Duration::from_secs(2);
    /// How often it tries meanwhile.
    COMES_BACK_TRIED_EVERY: Duration = Duration::from_millis(20);
    /// How long after a picture a request may still reach an instance that was chosen by the one before: a connect takes as
    /// long as it may.
    LATE_COMERS: Duration = Duration::from_secs(3);
    /// Bytes of body that are copied behind a head and sent with it; above, the kernel gathers both (`writev`).
    JOINED_BODY_BYTES_MAX: usize = 4 * 1024;
    /// Instances tried for one request. Three dead ones in a row mean that more is wrong than one instance.
    ATTEMPTS_MAX: usize = 3;
    /// Bytes that are kept of a body on its way, for an instance that turns out to be the wrong one: it says so as soon as it
    /// has the head, before more has been sent.
    KEPT_BODY_BYTES_MAX: usize = 64 * 1024;
    /// What keeping a piece of it costs besides.
    KEPT_PIECE_BYTES: usize = 64;
    /// Bytes of one request or answer in Dubbo's protocol: Dubbo's own default (`payload`), which its clients and servers refuse
    /// more than. Each is held whole while it is read, since what says its lane is behind its arguments.
    DUBBO_BODY_BYTES_MAX: u32 = 8 * 1024 * 1024;
    /// Bytes in Dubbo's protocol that wait on one connection before no more is read for it: to be sent, to have an instance
    /// chosen, or for another instance. With one request or answer more, that is what a connection holds at most.
    DUBBO_WAITING_BYTES_MAX: usize = 1024 * 1024;
    /// Bytes of answers that a caller in Dubbo's protocol has not taken: two of the largest, and it is cut off.
    DUBBO_UNTAKEN_BYTES_MAX: usize = 16 * 1024 * 1024;
    /// Requests in Dubbo's protocol of one connection that may be under way. Dubbo's servers have 200 threads each.
    DUBBO_IN_FLIGHT_MAX: usize = 4096;
    /// Bytes read and thrown away after an answer that came before the request's end, so that closing does not
    /// destroy the answer (a reset makes clients drop what they have not read).
    LINGER_BYTES_MAX: usize = 1024 * 1024;
    /// How long that may take.
    LINGER: Duration = Duration::from_secs(2);
    /// How long a look-up of a name nobody asked for before waits for a newer snapshot.
    LOOKUP_WAIT: Duration = Duration::from_millis(250);
    /// How long it waits where it is known that there is something of the name: going on without would leave the mesh.
    EXISTING_LOOKUP_WAIT: Duration = Duration::from_secs(2);
    /// Answers before the answer (1xx) of one request.
    INTERIM_ANSWERS_MAX: usize = 16;
    /// How long a listener that leaves waits for connections that the kernel has answered and whose callers have not confirmed
    /// them yet: a round trip of most networks. Meanwhile it answers nobody new, who tries again a second later.
    LAST_HANDSHAKES: Duration = Duration::from_millis(50);
    /// How long draining leaves an idle client connection open for one more request: clients close or reuse within
    /// a round trip, and closing first would meet a request that is under way.
    DRAIN_IDLE: Duration = Duration::from_secs(1);
    /// Bytes of a long body that the kernel takes beyond what it can send at once: what a slow reader takes within seconds,
    /// so that it is seen to read.
    UNSENT_BYTES_MAX: u32 = 128 * 1024;
    /// How often a client that has ended its sending, but may still read, is asked whether it is there. The kernel of one
    /// that has left answers for another minute.
    DEPARTURE_ASKED: Duration = Duration::from_secs(5);
    /// How long what a host name resolves to is used again. The system's resolver tells no TTL; so long a changed address is
    /// called in vain, and so seldom is the resolver asked about a host that is called all the time.
    NAME_KEPT: Duration = Duration::from_secs(10);
    /// How long it is still used when the resolver fails: a restart of a name server is over by then.
    NAME_GRACE: Duration = Duration::from_secs(120);
    /// How long the resolver may take; its own patience (often 10 to 30 s) is longer than callers'.
    NAME_WAIT: Duration = Duration::from_secs(5);
    /// Host names kept per thread: what applications call outside the mesh, many times over.
    NAMES_MAX: usize = 1024;
    /// Streams of one client's connection in HTTP/2 at a time; what browsers and gRPC libraries live with.
    H2_STREAMS_MAX: u32 = 100;
    /// Bytes of one stream's body in HTTP/2 that may wait here for an instance to take them.
    H2_STREAM_WINDOW: u32 = 256 * 1024;
    /// The same before more than a quarter of it has come, and at any time of a stream of another protocol: those count for
    /// nothing of what all streams together may, since their readers may take nothing for as long as they like.
    H2_FIRST_WINDOW: u32 = 64 * 1024;
    /// The same of all streams of a connection together.
    H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
    /// Bytes of header fields that the other side of a connection in HTTP/2 may have us remember, as the standard has it.
    H2_TABLE_BYTES_MAX: u32 = 4096;
    /// What one side of a connection in HTTP/2 may have the other do for nothing at once: a hundred resets, or a thousand pings.
    /// Where nothing is left of it the connection ends with ENHANCE_YOUR_CALM.
    H2_BUDGET_MAX: u32 = 1_000;
    /// What comes back of it each second: more than a patient client's pings and resets need.
    H2_BUDGET_PER_SECOND: u32 = 100;
    /// What a frame costs of it that is answered or thrown away: settings, pings, priorities, windows, heads that go on, empty
    /// data, and those of no known kind.
    H2_FRAME_COSTS: u32 = 1;
    /// What a stream costs of it that ends before its time, whoever ends it: it has had an instance begin to work. A
    /// WebSocket that was agreed to costs nothing, nor does what callers give up at a sidecar, where many share a connection.
    H2_RESET_COSTS: u32 = 10;
    /// What a request that was served gives back.
    H2_SERVED_EARNS: u32 = 10;
    /// What a frame of data that was sent gives back: its reader allows the next by a frame or two.
    H2_SENT_EARNS: u32 = 4;
    /// How long nobody is asked for a sign of life in HTTP/2 (PING) again who has only answered to that since: servers of
    /// gRPC end connections whose clients ask more often than every five minutes.
    H2_ASKED_AGAIN_AFTER: Duration = Duration::from_secs(330);
    /// Addresses of one name that are tried.
    ADDRESSES_TRIED_MAX: usize = 8;
    /// How long one address has to answer before the next is tried beside it (RFC 8305 §5).
    ADDRESS_STAGGER: Duration = Duration::from_millis(250);
    /// How long an instance's address that did not answer, or not before another of it, is tried after the others.
    SLOW_ADDRESS_LAST: Duration = Duration::from_secs(30);
    /// Such addresses kept per thread: those of a large installation that has lost a family.
    SLOW_ADDRESSES_MAX: usize = 10_000;
}

/// No limit: later than any clock of a thread gets.
pub const UNLIMITED: Duration = Duration::from_millis(u64::MAX);

/// How many connections of callers may be open: what is asked for, as far as the files that may be open allow.
pub(crate) fn connections_max(asked: Option<u64>) -> u64 {
    let open_files = shortage::open_files_max();
    let (allowed, wanted) = (callers_of(open_files), asked.unwrap_or(CONNECTIONS_MAX));
    if allowed < wanted {
        tracing::info!(
            open_files,
            connections_max = allowed,
            "the limit on open files allows fewer connections of callers than usual; raise it (ulimit -n)"
        );
    }
    wanted.min(allowed)
}

/// The callers that so many open files are enough for: two of three. Each may need an instance, but most of them wait
/// between two requests, and take turns on the connections to instances.
fn callers_of(open_files: u64) -> u64 {
    (open_files - FILES_RESERVED_MAX.min(open_files / 4)) / 3 * 2
}

/// How long everything may take. All exist by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From a request's first byte to the end of its head.
    pub head: Duration,
    /// Between two requests on one connection.
    pub idle: Duration,
    /// Between two pieces of a request body, and for a client to take a piece of an answer.
    pub body: Duration,
    /// Between two pieces of an answer's body.
    pub answer_body: Duration,
    /// To connect to an instance.
    pub connect: Duration,
    /// From sending a request to the head of its answer, where the rule does not say (`backendRequest`).
    pub backend: Duration,
    /// A whole request, where the rule does not say (`request`).
    pub request: Duration,
    /// Between two pieces in either direction of an upgraded connection.
    pub tunnel: Duration,
    /// From asking an instance for a sign of life (PING), while calls of gRPC wait, to anything at all that comes of it.
    pub sign_of_life: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(30),
            // Event streams often send a sign of life every one or two minutes.
            answer_body: Duration::from_secs(300),
            connect: Duration::from_secs(2),
            backend: Duration::from_secs(60),
            request: Duration::from_secs(3600),
            tunnel: Duration::from_secs(3600),
            // As long as clients of gRPC wait for it that ask themselves.
            sign_of_life: Duration::from_secs(20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_leave_files_to_instances_and_to_everything_else() {
        for (open_files, callers) in [(64, 32), (1024, 512), (20_000, 13_162), (1_048_576, 698_880)]
        {
            assert_eq!(callers_of(open_files), callers, "{open_files}");
        }
    }
}
