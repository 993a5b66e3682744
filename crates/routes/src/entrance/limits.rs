//! How large the head of a request may be.

/// Bytes of a whole head. Cookies and tokens of large estates stay below 32 KiB; twice that is generous.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Fields of one head. Browsers behind three proxies send about 40.
pub const FIELDS_MAX: usize = 100;

/// Fields that `Connection` may name besides its own options. Clients name none or one; each costs a look at all fields.
pub const NOMINATIONS_MAX: usize = 16;

/// Bytes of a request target; what common servers accept.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a method; the longest registered one has 17.
pub const METHOD_BYTES_MAX: usize = 32;
