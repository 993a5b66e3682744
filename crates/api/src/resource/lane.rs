//! `LaneGroup` and `Lane`, as written (docs/semantics.md).

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Describe, Key, Kind, Lane, Metadata, Status};

mod words;

/// A lane group: where its requests enter, which applications belong to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LaneGroupSpec {
    /// Where requests of this group are first matched.
    #[serde(default)]
    #[schema(required = false)]
    pub entrances: Vec<Entrance>,
    /// Applications that belong to the group; only their services are routed by its lanes.
    #[serde(default)]
    #[schema(required = false)]
    pub applications: Vec<String>,
}

/// Either `{gateway, routes?}` or `{application, edge?}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entrance {
    /// A gateway's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Only these routes of the gateway, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<String>>,
    /// An application whose sidecar or agent decides for requests that arrive without a lane context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The application faces clients: its sidecar strips the lane context they send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<bool>,
}

/// A lane of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LaneSpec {
    /// The group's name.
    pub group: String,
    /// The tag of the lane's instances, unique in the group; the object's name when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whether requests may be in it.
    #[serde(default = "enabled")]
    #[schema(required = false, default = true)]
    pub enabled: bool,
    /// Lower is tried first; ties in order of creation.
    #[serde(default)]
    #[schema(required = false, default = 0)]
    pub priority: i32,
    /// How requests enter.
    pub entry: Entry,
    /// What serves a hop that the lane cannot.
    #[serde(default, skip_serializing_if = "Fallback::is_base")]
    #[schema(required = false)]
    pub fallback: Fallback,
    /// Applications switched on or off in this lane.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub applications: Vec<ApplicationSwitch>,
}

/// Exactly one of `content` and `ratio`; all lanes of a group use the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// By what the request contains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// By share of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
    /// Entrances put no more requests into the lane; those that are in it keep it. A ratio keeps its percent, which goes to
    /// base meanwhile, never to another lane.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false, default = false)]
    pub paused: bool,
}

/// Entry by content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Content {
    /// Whether all conditions must hold, or any.
    #[serde(default)]
    #[schema(required = false)]
    pub meet: Meet,
    /// At least one.
    #[serde(default)]
    #[schema(min_items = 1)]
    pub conditions: Vec<LaneCondition>,
}

/// Whether all conditions must hold, or any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Meet {
    /// Every one.
    #[default]
    All,
    /// At least one.
    Any,
}

/// Names its parameter by exactly one of `header`, `query`, `cookie`, `claim`, `attribute`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LaneCondition {
    /// A header's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// A query parameter's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A cookie's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// A claim of the authenticated caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Something every request has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<AttributeName>,
    /// `==`, `!=`, `in`, `notIn`, `percentage`, `regex`, `prefix`, `exists`, `notExists`, `cidr`.
    pub operator: String,
    /// For operators that take one value: a string; a number for `percentage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ConditionValue>,
    /// For `in` and `notIn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
}

/// Something every request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum AttributeName {
    /// The normalised path, without query.
    Path,
    /// The method.
    Method,
    /// The host, lower-case, without port.
    Host,
    /// The client's address.
    ClientIp,
}

/// A condition's operand: a string, or a number for `percentage`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ConditionValue {
    /// A string.
    Text(String),
    /// A number.
    Number(serde_json::Number),
}

impl<'de> Deserialize<'de> for ConditionValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ConditionValue;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string (in quotes), or a number for `percentage`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ConditionValue, E> {
                Ok(ConditionValue::Text(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ConditionValue, E> {
                Ok(ConditionValue::Number(number.into()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ConditionValue, E> {
                Ok(ConditionValue::Number(number.into()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<ConditionValue, E> {
                serde_json::Number::from_f64(number)
                    .map(ConditionValue::Number)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Entry by ratio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ratio {
    /// 0 to 100, at most two decimals.
    #[schema(minimum = 0, maximum = 100)]
    pub percent: f64,
    /// The same value of this parameter always gets the same lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky_by: Option<ParameterRef>,
}

/// Exactly one of these; of the attributes only `clientIp`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParameterRef {
    /// A header's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// A query parameter's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A cookie's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// `clientIp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<AttributeName>,
    /// Gateways issue the cookie to whom has none. Goes with `cookie` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<CookieIssue>,
}

/// How a cookie is issued: random, `HttpOnly`, and a key to be drawn by and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CookieIssue {
    /// How long browsers keep it, e.g. `30d`, `12h`: 1s to 400d; when not given until the browser is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// Paths it is sent for; `/` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Hosts it is sent to, those below it included; when not given the host that was asked alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// With which requests of other sites' pages it is sent; `lax` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,
    /// In TLS alone; when not given, where the request came in TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
    /// Also on answers that everybody may keep (`Cache-Control: public` or `s-maxage`); `false` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_public_answers: Option<bool>,
}

/// With which requests of other sites' pages a cookie is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SameSite {
    /// Those that lead to the site.
    Lax,
    /// None.
    Strict,
    /// All; needs `secure: true`.
    None,
}

/// Tags of lanes of the same group to try before base, or the word `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// These in order, at last the base.
    Tags(Vec<String>),
    /// Nothing: strict.
    None,
}

/// The word that makes a lane strict.
const STRICT_WORD: &str = "none";

impl Default for Fallback {
    fn default() -> Self {
        Self::Tags(Vec::new())
    }
}

impl Fallback {
    /// Whether it is the default: base and nothing else.
    fn is_base(&self) -> bool {
        matches!(self, Self::Tags(tags) if tags.is_empty())
    }
}

impl Serialize for Fallback {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Tags(tags) => tags.serialize(serializer),
            Self::None => serializer.serialize_str(STRICT_WORD),
        }
    }
}

impl<'de> Deserialize<'de> for Fallback {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Fallback;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of tags, or the word `none`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Fallback, E> {
                if text == STRICT_WORD {
                    Ok(Fallback::None)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Fallback, A::Error> {
                let mut tags = Vec::new();
                while let Some(tag) = list.next_element()? {
                    tags.push(tag);
                }
                Ok(Fallback::Tags(tags))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Whether an application takes part in a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationSwitch {
    /// The application, one of the group's.
    pub name: String,
    /// `false`: its hop uses the fallback as if the lane had no instance of it.
    #[serde(default = "enabled")]
    #[schema(required = false, default = true)]
    pub enabled: bool,
}

impl Describe for LaneGroupSpec {
    const IS_DISTRIBUTED: bool = true;
    const COLUMNS: &'static [&'static str] = &["ENTRANCES", "APPLICATIONS"];

    fn cells(&self, _: &Metadata, _: Option<&Status>) -> Vec<String> {
        let entrances: Vec<String> = self.entrances.iter().map(ToString::to_string).collect();
        vec![entrances.join(","), self.applications.join(",")]
    }
}

impl Describe for LaneSpec {
    const IS_DISTRIBUTED: bool = true;
    const COLUMNS: &'static [&'static str] = &["LANE", "ENABLED", "ENTRY", "FALLBACK"];

    fn cells(&self, metadata: &Metadata, _: Option<&Status>) -> Vec<String> {
        vec![
            format!("{}/{}", self.group, self.tag_text(metadata)),
            match (self.enabled, self.entry.paused) {
                (true, false) => "yes",
                (true, true) => "paused",
                (false, _) => "no",
            }
            .to_owned(),
            self.entry.to_string(),
            self.fallback.to_string(),
        ]
    }
}

impl LaneSpec {
    fn tag_text<'s>(&'s self, metadata: &'s Metadata) -> &'s str {
        self.tag.as_deref().unwrap_or(&metadata.name)
    }
}

impl Lane {
    /// The tag it is for, as written: its own, or its name.
    pub fn tag_text(&self) -> &str {
        self.spec.tag_text(&self.metadata)
    }

    /// `group/tag`: what people call it.
    pub fn lane_name(&self) -> String {
        format!("{}/{}", self.spec.group, self.tag_text())
    }

    /// The key of its group.
    pub fn group_key(&self) -> Key {
        Key::new(Kind::LaneGroup, self.metadata.namespace.clone(), self.spec.group.clone())
    }
}

fn enabled() -> bool {
    true
}
