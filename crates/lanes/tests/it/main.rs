//! What the crate promises, asked through its public face.

mod smoke;
