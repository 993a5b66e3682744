//! Lanes and groups in a few words, for tables.

use std::fmt;

use super::{
    AttributeName, ConditionValue, Entrance, Entry, Fallback, LaneCondition, Meet, ParameterRef,
};

impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.gateway, &self.routes, &self.application) {
            (Some(gateway), Some(routes), _) => write!(f, "{gateway}[{}]", routes.join(",")),
            (Some(gateway), None, _) => f.write_str(gateway),
            (None, _, Some(application)) => write!(f, "application {application}"),
            (None, _, None) => Ok(()),
        }
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tags(tags) => {
                tags.iter().try_for_each(|tag| write!(f, "{tag},"))?;
                f.write_str("base")
            }
            Self::None => f.write_str("none"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ratio) = &self.ratio {
            write!(f, "{}%", ratio.percent)?;
            return ratio.sticky_by.as_ref().map_or(Ok(()), |by| write!(f, " by {by}"));
        }
        let Some(content) = &self.content else { return Ok(()) };
        let joint = match content.meet {
            Meet::All => " and ",
            Meet::Any => " or ",
        };
        for (index, condition) in content.conditions.iter().enumerate() {
            write!(f, "{}{condition}", if index == 0 { "" } else { joint })?;
        }
        Ok(())
    }
}

impl fmt::Display for ParameterRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, query, cookie, attribute: _, issue } = self;
        match named([("header", header), ("query", query), ("cookie", cookie)]) {
            Some((kind, name)) if issue.is_some() => write!(f, "{kind} {name} (issued)"),
            Some((kind, name)) => write!(f, "{kind} {name}"),
            None => f.write_str("clientIp"),
        }
    }
}

impl fmt::Display for LaneCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, query, cookie, claim, attribute, operator, value, values } = self;
        let named =
            named([("header", header), ("query", query), ("cookie", cookie), ("claim", claim)]);
        match (named, attribute) {
            (Some((kind, name)), _) => write!(f, "{kind} {name}")?,
            (None, Some(attribute)) => f.write_str(attribute.as_written())?,
            (None, None) => {}
        }
        write!(f, " {operator}")?;
        match (value, values) {
            (Some(value), _) => write!(f, " {value}"),
            (None, Some(values)) => write!(f, " [{}]", values.join(", ")),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for ConditionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl AttributeName {
    /// As written.
    pub(crate) fn as_written(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Method => "method",
            Self::Host => "host",
            Self::ClientIp => "clientIp",
        }
    }
}

/// The first that has a name.
fn named<'s, const N: usize>(
    fields: [(&'static str, &'s Option<String>); N],
) -> Option<(&'static str, &'s str)> {
    fields.into_iter().find_map(|(kind, name)| Some((kind, name.as_deref()?)))
}
