//! How kinds are called, and how one object is named.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use super::Kind;

/// Who defines a kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Group {
    Laneway,
    GatewayApi,
}

/// What a kind is called, and where.
#[derive(Debug)]
pub(super) struct Names {
    /// In `kind:`.
    pub(super) name: &'static str,
    /// In REST paths.
    pub(super) plural: &'static str,
    /// By people in a hurry.
    pub(super) short: &'static [&'static str],
    pub(super) group: Group,
}

impl Kind {
    /// As written in `kind:`.
    pub const fn name(self) -> &'static str {
        self.names().name
    }

    /// As written in REST paths.
    pub const fn plural(self) -> &'static str {
        self.names().plural
    }

    /// As written in `apiVersion:`.
    pub(crate) const fn api_version(self) -> &'static str {
        match self.names().group {
            Group::Laneway => "laneway.io/v1alpha1",
            Group::GatewayApi => "gateway.networking.k8s.io/v1",
        }
    }

    /// The API group, the part of [`Kind::api_version`] before the slash.
    pub fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// The kind of a REST path's segment.
    pub fn from_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }

    /// The kind a person means: its name, plural or a short form, in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let Names { name, plural, short, group: _ } = kind.names();
            [name, plural].into_iter().chain(*short).any(|known| known.eq_ignore_ascii_case(word))
        })
    }

    /// The kind whose name is exactly this.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One object's name among all objects.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(deny_unknown_fields)]
#[schema(as = ObjectKey)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of an object.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = one_line(&self.name);
        if self.namespace == super::DEFAULT_NAMESPACE {
            write!(f, "{} {name}", self.kind)
        } else {
            write!(f, "{} {}/{name}", self.kind, one_line(&self.namespace))
        }
    }
}

/// Text that somebody wrote, as part of a line for people: nothing in it ends the line, acts on a terminal, or is shown as
/// something else than it is.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unshown) {
        return Cow::Borrowed(text);
    }
    let letters = text.chars().map(|letter| match is_unshown(letter) {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    });
    Cow::Owned(letters.collect())
}

/// Whether a letter controls or is not seen: Unicode's Cc, Cf, Zl and Zp, of which those that turn the direction of text make a
/// line read as another.
fn is_unshown(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_means_two_kinds() {
        for kind in Kind::ALL {
            let Names { name, plural, short, group: _ } = kind.names();
            for word in [name, plural].into_iter().chain(*short) {
                assert_eq!(Kind::from_word(&word.to_uppercase()), Some(kind), "{word}");
            }
            assert_eq!(Kind::from_plural(plural), Some(kind));
            assert_eq!(Kind::from_name(name), Some(kind));
            assert_eq!(kind.columns()[0], "NAME");
        }
    }

    #[test]
    fn a_name_is_one_line_whatever_was_written() {
        let shown = |namespace: &str| Key::new(Kind::Lane, namespace, "a\nb\u{1b}[2J\u{85}c");
        assert_eq!(shown("default").to_string(), "Lane a\\nb\\u{1b}[2J\\u{85}c");
        assert_eq!(
            one_line("a\u{202e}b\u{200b}c\u{2066}d\u{feff}é路"),
            "a\\u{202e}b\\u{200b}c\\u{2066}d\\u{feff}é路"
        );
        assert_eq!(shown("x\r").to_string(), "Lane x\\r/a\\nb\\u{1b}[2J\\u{85}c");
    }
}
