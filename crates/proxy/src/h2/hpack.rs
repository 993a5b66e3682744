//! Compression of header fields (RFC 7541). What comes is read with everything the standard has; what goes is written
//! without a dynamic table, so that no stream waits for another and a peer can make us keep nothing.

mod decoder;
mod encoder;
mod huffman;
mod static_table;
mod table;

pub(crate) use decoder::Decoder;
pub(crate) use encoder::{write_field, write_status};
