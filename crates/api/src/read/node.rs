//! A document as a tree that knows the line of every value.

use std::{fmt, ops::Range};

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// Documents of one text: one more than are taken, so that the refusal says what is meant.
const DOCUMENTS_MAX: usize = super::OBJECTS_MAX + 1;

/// Values of one text: a hundred per document, more than any kind has on average; 2 GiB of tree at most.
const NODES_MAX: usize = 100 * DOCUMENTS_MAX;

/// Values that anchors repeat in one text, and what belongs to them: a list of a hundred values in each of a hundred
/// objects, and as much again. What is meant to fill the memory repeats itself ten thousand times as often.
const REPEATED_MAX: usize = 30_000;

/// Lines of comment in one place: a large object commented out.
const COMMENT_LINES_MAX: usize = 10_000;

/// A value and its line.
#[derive(Debug, Clone)]
pub(super) struct Node {
    line: u64,
    /// The bytes of the text it was written as; none where that is not known.
    written: Range<u32>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The documents of a text, or the line and what is wrong there.
    pub(super) fn read(text: &str) -> Result<Vec<Self>, (u64, String)> {
        let options = serde_saphyr::options! {
            // `yes` and `on` are words, as YAML 1.2 has it; only `true` and `false` are not.
            strict_booleans: true,
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_documents: DOCUMENTS_MAX,
                max_nodes: NODES_MAX,
                max_events: 2 * NODES_MAX,
                max_buffered_comment_events: COMMENT_LINES_MAX,
            },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: REPEATED_MAX },
        };
        let error = match serde_saphyr::from_multiple_with_options::<Self>(text, options) {
            Ok(documents) => return Ok(documents),
            Err(error) => error,
        };
        // JSON is YAML but for a few escapes.
        if text.trim_start().starts_with(['{', '[']) {
            match super::json(text.as_bytes()) {
                Ok(value) => return Ok(vec![Self::without_lines(value)]),
                // Right as JSON but for what is refused in YAML too.
                Err(json) if json.is_data() => {
                    return Err((json.line() as u64, format!("write valid YAML or JSON: {json}")));
                }
                Err(_) => {}
            }
        }
        let line = error.location().map_or(0, |location| location.line());
        let said = error.without_snippet().to_string();
        Err((line, format!("write valid YAML or JSON: {}", in_plain_words(&said))))
    }

    fn without_lines(value: Value) -> Self {
        let content = match value {
            Value::Array(items) => {
                Content::List(items.into_iter().map(Self::without_lines).collect())
            }
            Value::Object(fields) => Content::Map(
                fields.into_iter().map(|(key, value)| (key, Self::without_lines(value))).collect(),
            ),
            scalar => Content::Scalar(scalar),
        };
        Self { line: 0, written: 0..0, content }
    }

    /// The items of a list of objects, written as a list or as an object with `items`; else itself.
    pub(super) fn objects(self) -> Vec<Self> {
        match self.content {
            Content::List(items) => items,
            Content::Map(fields) if fields.iter().all(|(key, _)| key != "spec") => {
                let (items, other): (Vec<_>, Vec<_>) =
                    fields.into_iter().partition(|(key, _)| key == "items");
                match items.into_iter().next() {
                    Some((_, Self { content: Content::List(items), .. })) => items,
                    Some(items) => {
                        let fields = other.into_iter().chain([items]).collect();
                        vec![Self { content: Content::Map(fields), ..self }]
                    }
                    None => vec![Self { content: Content::Map(other), ..self }],
                }
            }
            content => vec![Self { content, ..self }],
        }
    }

    /// The line, from 1; 0 when it is not known.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Whether a map within this map has a field.
    pub(super) fn has(&self, map: &str, field: &str) -> bool {
        self.field(map).and_then(|map| map.field(field)).is_some()
    }

    fn field(&self, name: &str) -> Option<&Self> {
        match &self.content {
            Content::Map(fields) => {
                fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
            }
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    /// The line of a field, or of the deepest part of its path that exists.
    pub(super) fn line_of(&self, field: &str) -> u64 {
        self.reach(field).0.line
    }

    /// How a field's number, or word that is no text, was written: `1.10` is not `1.1`.
    pub(super) fn written_in<'t>(&self, text: &'t str, field: &str) -> Option<&'t str> {
        let (Self { written, content: Content::Scalar(value), .. }, "") = self.reach(field) else {
            return None;
        };
        let written = text.get(written.start as usize..written.end as usize)?;
        Some(written).filter(|written| !value.is_string() && !written.is_empty())
    }

    /// The deepest part of a path that exists, and the rest of it.
    fn reach<'f>(&self, field: &'f str) -> (&Self, &'f str) {
        let mut node = self;
        let mut rest = field;
        while !rest.is_empty() {
            let next = match &node.content {
                Content::Map(fields) => {
                    // Keys may contain dots, as those of annotations do.
                    let key = fields.iter().find_map(|(key, value)| {
                        let after = rest.strip_prefix(key.as_str())?;
                        (after.is_empty() || after.starts_with(['.', '[']))
                            .then_some((value, after))
                    });
                    key.map(|(value, after)| (value, after.strip_prefix('.').unwrap_or(after)))
                }
                Content::List(items) => rest
                    .strip_prefix('[')
                    .and_then(|rest| rest.split_once(']'))
                    .and_then(|(index, after)| {
                        let item = items.get(index.parse::<usize>().ok()?)?;
                        Some((item, after.strip_prefix('.').unwrap_or(after)))
                    }),
                Content::Scalar(_) => None,
            };
            let Some((value, after)) = next else { break };
            (node, rest) = (value, after);
        }
        (node, rest)
    }

    /// The value without lines.
    pub(super) fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Content::Map(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, value)| (key.clone(), value.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

/// What the reader of YAML says, without words that are for who writes programs with it.
fn in_plain_words(said: &str) -> String {
    for (theirs, ours) in [
        ("DuplicateKeyPolicy", "a key is written twice: keep one"),
        ("RecordedAnchor", "too much is repeated by anchors: write it out"),
        ("alias replay", "too much is repeated by anchors: write it out"),
        ("budget breached", "there is too much in it: write it into several files"),
        ("configured policy", "this is more than is needed anywhere: leave it out"),
    ] {
        if said.contains(theirs) {
            let keeps_the_key = theirs == "DuplicateKeyPolicy" && said.contains("duplicate");
            let before = said.split([',', ';']).next().filter(|_| keeps_the_key);
            return before.map_or_else(|| ours.to_owned(), |before| format!("{before}: keep one"));
        }
    }
    said.to_owned()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        let place = spanned.referenced;
        let start = place.span().byte_offset().unwrap_or_default();
        let end = start + place.span().byte_len().unwrap_or_default();
        let byte = |at| u32::try_from(at).unwrap_or_default();
        let written = byte(start)..byte(end);
        Ok(Self { line: place.line(), written, content: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map, a list, a text, a number, true, false or null")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Content, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Bool(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        // What JSON has no number for stays a text, and is refused where a number is wanted.
        let scalar =
            Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number);
        Ok(Content::Scalar(scalar))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Scalar(Value::String(text.to_owned())))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Content::Map(fields))
    }
}
