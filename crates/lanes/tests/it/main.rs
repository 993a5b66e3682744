//! What the crate promises, asked through its public face.

mod affinity;
mod cases;
mod directory;
mod explained;
mod oracle;
mod problems;
mod properties;
mod simulation;
mod smoke;
mod vectors;
mod wire;
mod words;
mod world;
