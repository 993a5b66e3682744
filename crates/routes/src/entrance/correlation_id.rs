//! An id that requests of one call chain share.

use smallvec::SmallVec;

/// Bytes a correlation id may have. UUIDs have 36, B3 and W3C trace ids 32, cloud load balancers' ids below 80;
/// longer ones are not remembered, so that a table of 65 536 ids stays within 8 MiB of ids.
pub const CORRELATION_ID_BYTES_MAX: usize = 128;

/// An id that requests of one call chain share.
pub type CorrelationId = SmallVec<[u8; 40]>;

/// Whether a value can serve as an id: visible ASCII, not empty, at most [`CORRELATION_ID_BYTES_MAX`].
pub(super) fn is_valid_id(value: &[u8]) -> bool {
    !value.is_empty()
        && value.len() <= CORRELATION_ID_BYTES_MAX
        && value.iter().all(u8::is_ascii_graphic)
}
