//! Where a request goes: hosts, paths, methods, headers, query and filters, by the Gateway API's precedence.
//! Pure, like `lanes`: what it needs is an argument.
//!
//! [`Table::compile`] takes what operators wrote, returns every mistake and keeps the rest; [`Table::find`]
//! answers a request without allocating.

mod compile;
mod edits;
pub mod entrance;
mod filter;
mod host;
pub mod language;
mod normal;
mod overlaps;
mod path;
mod precedence;
mod published;
mod server_names;
pub mod spec;
pub mod table;
mod text;
pub mod tls;

pub use compile::RouteProblem;
pub use edits::Edits;
pub use normal::{PathError, encode_beyond_ascii, has_slashes_in_a_row, merge_slashes, normalise};
pub use overlaps::{Overlap, attached, overlaps, places};
pub use published::Published;
pub use server_names::{ServerNames, Vain, Why, server_names};
pub use spec::{GatewaySpec, RouteKind, RouteSpec};
pub use table::{Backend, Found, Rule, Table};
pub use text::check_expression;
