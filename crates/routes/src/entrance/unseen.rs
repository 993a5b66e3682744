//! Fields that conditions can never see at an entrance, for those who check resources before any request comes.

use super::{
    Forwarded, Policy,
    field::{Field, is_underscored},
    name::{Name, Names},
    possible::Paths,
};

/// Why no condition sees a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// It is for one hop alone, at every entrance.
    OneHop,
    /// Gateways drop names with `_`.
    Underscored,
    /// Clients are not believed.
    NotTrusted,
    /// No proxies in front are believed.
    NoTrustedHops,
}

impl Policy<'_> {
    /// Whether it is a gateway's: names with `_` are dropped there, and paths normalised.
    pub fn is_gateway(&self) -> bool {
        matches!(self.forwarded, Forwarded::Appended { .. })
    }

    /// What is made of paths.
    pub fn paths(&self) -> Paths {
        match (self.is_gateway(), self.merge_slashes) {
            (false, _) => Paths::AsWritten,
            (true, false) => Paths::Unmerged,
            (true, true) => Paths::Merged,
        }
    }

    /// Why no condition sees fields with this name; `None` where they are seen.
    pub fn unseen(&self, name: &str) -> Option<Unseen> {
        let field = Field::new(name, b"");
        if Names::HOP_BY_HOP.contains(field.name) {
            Some(Unseen::OneHop)
        } else if self.is_gateway() && is_underscored(&field) {
            Some(Unseen::Underscored)
        } else if !self.dropped().contains(field.name) && !self.drops_id(&field) {
            None
        } else if matches!(
            field.name,
            Name::Traceparent
                | Name::Tracestate
                | Name::RequestId
                | Name::B3
                | Name::Sw8
                | Name::Other
        ) {
            Some(Unseen::NotTrusted)
        } else {
            Some(Unseen::NoTrustedHops)
        }
    }
}

impl Unseen {
    /// Whether another entrance in the same place might show the field: one that trusts more, or speaks a protocol
    /// in which it is no connection's own.
    pub fn depends_on_entrance(self) -> bool {
        matches!(self, Self::OneHop | Self::NotTrusted | Self::NoTrustedHops)
    }
}
