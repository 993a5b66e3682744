//! Timeouts, and what else bounds a connection or a request.

use std::time::Duration;

/// Bytes of body that are copied behind a head and sent with it; above, the kernel gathers both (`writev`).
pub(crate) const JOINED_BODY_BYTES_MAX: usize = 4 * 1024;

/// Instances tried for one request. Three dead ones in a row mean that more is wrong than one instance.
pub(crate) const ATTEMPTS_MAX: usize = 3;

/// Bytes read and thrown away after an answer that came before the request's end, so that closing does not
/// destroy the answer (a reset makes clients drop what they have not read).
pub(crate) const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// How long that may take.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// How long a look-up of a name nobody asked for before waits for a newer snapshot.
pub(crate) const LOOKUP_WAIT: Duration = Duration::from_millis(250);

/// Answers before the answer (1xx) of one request.
pub(crate) const INTERIM_ANSWERS_MAX: usize = 16;

/// How long draining leaves an idle client connection open for one more request: clients close or reuse within
/// a round trip, and closing first would meet a request that is under way.
pub(crate) const DRAIN_IDLE: Duration = Duration::from_secs(1);

/// How long accepting pauses when the process has no file descriptors left.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections of callers per process. Each costs some kilobytes idle; the limit on open files is usually lower.
pub(crate) const CONNECTIONS_MAX: usize = 65_536;

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
        }
    }
}
