//! Fakes and sandboxes shared by tests. Never a normal dependency.
//!
//! - [`Sandbox`]: real processes of the built binary on a loopback network of their own.
//! - [`Switch`], [`Host`]: network namespaces as hosts, where captured traffic is real.
//! - [`sample`]: the resources of the chain A → B → C.
//! - [`large`]: the largest installation there is a promise for.
//! - [`load`]: a steady stream of requests whose every answer is kept.
//! - [`Timeline`]: what was true when, and so which answers were right.
//! - [`entrance_cases`]: requests as they enter, for everybody who reads requests.
//! - [`Call`]: a request for those who only decide.
//! - [`Random`]: numbers that repeat.
//! - [`grpc`]: the chain A → B → C in Go, Java and Python, speaking gRPC.
//! - [`http`], [`wait`], [`needs`]: small things that every system test wants.

pub mod application;
mod call;
mod clock;
pub mod entrance_cases;
pub mod grpc;
mod hosts;
pub mod http;
pub mod large;
pub mod load;
mod network;
pub mod path;
mod process;
mod program;
mod random;
pub mod relay;
pub mod sample;
mod sandbox;
mod timeline;
pub mod wait;
mod world;

pub use call::Call;
pub use hosts::{Host, Switch};
pub use process::Process;
pub use random::Random;
pub use sandbox::{CommandResult, Instance, MAIN_HOST, RunningInstance, Sandbox};
pub use timeline::{EFFECTIVE_WITHIN, Judgement, Timeline};
pub use world::needs;
