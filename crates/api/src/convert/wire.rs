//! Specifications ↔ discovery messages, losslessly. What a message says that this version does not understand is
//! an error that names it, never a default: the receiver keeps its last good one.

use crate::discovery::v1;

mod group;
mod route;
mod service;
mod tls;

pub use group::{group_from, group_to};
pub use route::{gateway_from, gateway_to, route_from, route_to};
pub use service::{
    address_from, address_to, name_from, name_to, protocol_from, protocol_to, service_from,
    service_id_from, service_id_to, service_to,
};
pub use tls::{certificate_from, certificate_to};

/// Something in a message that this version does not understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {value}, which this version does not understand")]
pub struct NotUnderstood {
    /// The field, by its name in the protocol.
    pub field: &'static str,
    /// What it says.
    pub value: String,
}

impl NotUnderstood {
    fn text(field: &'static str, value: &str) -> Self {
        Self { field, value: format!("`{value}`") }
    }

    /// A choice of which nothing is known: none was made, or a newer version's.
    fn choice(field: &'static str) -> Self {
        Self { field, value: "a choice".to_owned() }
    }

    /// Nothing where there must be something.
    fn nothing(field: &'static str) -> Self {
        Self { field, value: "missing".to_owned() }
    }

    fn number(field: &'static str, number: impl std::fmt::Display) -> Self {
        Self { field, value: number.to_string() }
    }
}

/// Nothing for the empty word.
fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A port, of which 0 is none.
fn port(field: &'static str, number: u32) -> Result<Option<u16>, NotUnderstood> {
    match u16::try_from(number) {
        Ok(0) => Ok(None),
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(NotUnderstood::number(field, number)),
    }
}

fn text_match(field: &'static str, number: i32) -> Result<v1::TextMatch, NotUnderstood> {
    v1::TextMatch::try_from(number).map_err(|_| NotUnderstood::number(field, number))
}

#[cfg(test)]
mod tests;
