//! Stored texts: what they are read as, and what is said of them.

mod check;
mod sets;
mod stored;
