//! Where a request goes: hosts, paths, methods, headers, query and filters, by the Gateway API's precedence.
//! Pure, like `lanes`: what it needs is an argument.

pub mod spec;
pub mod table;

pub use spec::{GatewaySpec, RouteSpec};
pub use table::{Found, Rule, Table};
