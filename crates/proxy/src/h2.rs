//! HTTP/2 (RFC 9113). A [`session`] is pure: frames, compression of heads, streams and their windows, bytes in and bytes
//! out. A [`driver`] moves its bytes, and what [`outgoing`] and [`incoming`] are to a stream is the same for both sides.
//! Those who serve clients and call instances with all this are in [`crate::downstream`] and [`crate::upstream`].

pub(crate) mod driver;
pub(crate) mod error;
mod frame;
pub(crate) mod grpc;
mod guard;
pub(crate) mod head;
pub(crate) mod hpack;
pub(crate) mod incoming;
pub(crate) mod outgoing;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub(crate) mod session;
mod settings;
pub(crate) mod tunnelled;

/// What we allow the other side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Streams at a time.
    pub(crate) streams_max: u32,
    /// Bytes of one stream's body that may lie here unread, once it is seen to have many.
    pub(crate) stream_window: u32,
    /// The same of one that has not, and of another protocol's stream.
    pub(crate) first_window: u32,
    /// The same of all streams together.
    pub(crate) connection_window: u32,
    /// Bytes of a head, uncompressed.
    pub(crate) head_bytes_max: u32,
    /// Bytes of fields that the other side may have us remember.
    pub(crate) table_bytes_max: u32,
    /// The connection is of many callers, none of them a stranger: one that vanishes is nobody's fault but its own, and who it asked
    /// through has charged it.
    pub(crate) is_shared: bool,
}
