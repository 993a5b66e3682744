//! Which headers carry ids that requests of one call chain share, and the ids in them.

use std::fmt;

use lanes::is_token;
use smallvec::SmallVec;

use super::{
    correlation_id::{CorrelationId, is_valid_id},
    field::{Field, Fields},
    name::Name,
    skywalking,
    trace_parent::TraceParent,
    written::Written,
};

/// The single-header form of Zipkin's B3.
const B3: &str = "b3";
/// SkyWalking's.
const SW8: &str = "sw8";
const TRACEPARENT: &str = "traceparent";
const REQUEST_ID: &str = "x-request-id";

/// Headers that may be configured as correlation ids. A request is looked up under each of them.
const CORRELATION_HEADERS_MAX: usize = 8;

/// Which headers carry ids that requests of one call chain share, most trusted first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorrelationHeaders {
    headers: Vec<CorrelationHeader>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CorrelationHeader {
    /// Lower-case.
    name: String,
    known: Name,
    form: Form,
}

/// Where in the value the id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The trace id of a valid `traceparent`.
    TraceParent,
    /// Before the first `-` of B3's single header.
    B3Single,
    /// The trace id of a valid `sw8`, in plain.
    Sw8,
    /// All of it.
    Whole,
}

/// Why a list of correlation headers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCorrelationHeader {
    name: String,
    reason: &'static str,
}

impl fmt::Display for BadCorrelationHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, reason } = self;
        write!(
            f,
            "correlation header `{name}`: {reason}; name request headers such as traceparent, x-request-id, b3 or sw8"
        )
    }
}

impl std::error::Error for BadCorrelationHeader {}

impl Default for CorrelationHeaders {
    /// `traceparent`, which every tracing library forwards, then `x-request-id`, which entrances also create.
    fn default() -> Self {
        Self {
            headers: vec![
                CorrelationHeader::new(TRACEPARENT.to_owned()),
                CorrelationHeader::new(REQUEST_ID.to_owned()),
            ],
        }
    }
}

impl CorrelationHeaders {
    /// From the operator's list.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, BadCorrelationHeader> {
        let mut headers: Vec<CorrelationHeader> = Vec::new();
        for written in names {
            let bad = |reason| BadCorrelationHeader { name: written.to_owned(), reason };
            let name = written.trim().to_ascii_lowercase();
            if name.is_empty() || !is_token(&name) {
                return Err(bad("is no header name"));
            }
            if name == "baggage" {
                return Err(bad("carries the lane context itself and is no id"));
            }
            if headers.iter().any(|known| known.name == name) {
                return Err(bad("is named twice"));
            }
            if headers.len() == CORRELATION_HEADERS_MAX {
                return Err(bad("is the ninth, and at most 8 are looked up"));
            }
            headers.push(CorrelationHeader::new(name));
        }
        if headers.is_empty() {
            return Err(BadCorrelationHeader { name: String::new(), reason: "the list is empty" });
        }
        Ok(Self { headers })
    }

    /// The names, lower-case, in order: what an untrusted entrance replaces or strips.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|header| header.name.as_str())
    }

    /// Whether SkyWalking's is one of them.
    pub(super) fn has_sw8(&self) -> bool {
        self.headers.iter().any(|header| header.form == Form::Sw8)
    }

    /// Whether some of them are no [`Name`] of ours.
    pub(super) fn has_others(&self) -> bool {
        self.headers.iter().any(|header| header.known == Name::Other)
    }

    /// Whether `name` (any case) is one of them.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.headers.iter().any(|header| header.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The ids of a request as it goes on, in order of the list: the first value of each counts.
    pub fn ids<'b>(
        &self,
        fields: &impl Fields<'b>,
        written: &Written,
    ) -> SmallVec<[CorrelationId; 2]> {
        let value = |header: &CorrelationHeader| {
            let is_named = |field: &Field<'_>| {
                field.name == header.known
                    && (header.known.as_str().is_some() || field.is_named(&header.name))
            };
            let kept = || fields.kept().find(is_named).map(|field| field.value);
            written.value(header.known).or_else(kept).and_then(|value| header.id(value))
        };
        self.headers.iter().filter_map(value).collect()
    }
}

impl CorrelationHeader {
    fn new(name: String) -> Self {
        let form = match name.as_str() {
            TRACEPARENT => Form::TraceParent,
            B3 => Form::B3Single,
            SW8 => Form::Sw8,
            _ => Form::Whole,
        };
        Self { known: Name::of(name.as_bytes()), name, form }
    }

    /// The id in a value. Ids of different headers share one table: an application may well take its request id
    /// from the trace id, and a chance meeting of two that differ is a conflict, which is base.
    fn id(&self, value: &[u8]) -> Option<CorrelationId> {
        let bytes = match self.form {
            Form::TraceParent => {
                TraceParent::parse(value)?;
                &value[3..35]
            }
            Form::B3Single => {
                let trace_id = value.split(|byte| *byte == b'-').next()?;
                // `b3: 0` and `b3: 1` carry a sampling decision and no id.
                if !matches!(trace_id.len(), 16 | 32) || !trace_id.iter().all(u8::is_ascii_hexdigit)
                {
                    return None;
                }
                trace_id
            }
            Form::Sw8 => return skywalking::trace_id(value),
            Form::Whole => is_valid_id(value).then_some(value)?,
        };
        Some(CorrelationId::from_slice(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::entrance::{TextHead, trace_parent::new_request_id};

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn ids_are_visible_and_bounded() {
        assert!(is_valid_id(&new_request_id([7; 16])));
        assert!(!is_valid_id(b""));
        assert!(!is_valid_id(b"with space"));
        assert!(!is_valid_id("zażółć".as_bytes()));
        assert!(is_valid_id(&[b'a'; 128]));
        assert!(!is_valid_id(&[b'a'; 129]));
    }

    #[track_caller]
    fn check_ids(names: &[&str], headers: &[(&str, &str)], ids: &[&str]) {
        let host = [("host", "shop")];
        let fields = TextHead::read("GET", "/", host.iter().chain(headers).copied()).unwrap();
        let found = CorrelationHeaders::new(names.iter().copied())
            .unwrap()
            .ids(&fields, &Written::default());
        let found: Vec<_> = found.iter().map(|id| std::str::from_utf8(id).unwrap()).collect();
        assert_eq!(found, ids, "{names:?} {headers:?}");
    }

    #[test]
    fn ids_are_taken_from_the_configured_headers_in_order() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        check_ids(&["traceparent"], &[("traceparent", VALID)], &[trace]);
        check_ids(&["traceparent"], &[("traceparent", "nonsense")], &[]);
        check_ids(
            &["traceparent", "X-Request-Id"],
            &[("x-request-id", " 17 "), ("traceparent", VALID)],
            &[trace, "17"],
        );
        check_ids(&["x-request-id"], &[("traceparent", VALID)], &[]);
        check_ids(&["x-request-id"], &[("x-request-id", "two words")], &[]);
        check_ids(
            &["b3"],
            &[("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")],
            &["80f198ee56343ba864fe8b2a57d3eff7"],
        );
        check_ids(&["b3"], &[("b3", "0")], &[]);
        check_ids(
            &["sw8", "traceparent"],
            &[("sw8", "1-YWJjLjEuMg==-c2Vn-0-YQ==-aQ==-L2E=-cA=="), ("traceparent", VALID)],
            &["abc.1.2", trace],
        );
        check_ids(&["sw8"], &[("sw8", "1-YWJjLjEuMg")], &[]);
        check_ids(
            &["X-B3-TraceId"],
            &[("x-b3-traceid", "463ac35c9f6413ad")],
            &["463ac35c9f6413ad"],
        );
    }

    #[test]
    fn bad_lists_are_refused_with_the_name() {
        for (names, reason) in [
            (vec![], "the list is empty"),
            (vec!["a b"], "`a b`: is no header name"),
            (vec![""], "is no header name"),
            (vec!["baggage"], "`baggage`: carries the lane context itself"),
            (vec!["b3", "B3"], "`B3`: is named twice"),
            (vec!["a", "b", "c", "d", "e", "f", "g", "h", "i"], "`i`: is the ninth"),
        ] {
            let error = CorrelationHeaders::new(names).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(
            CorrelationHeaders::default(),
            CorrelationHeaders::new(["traceparent", "x-request-id"]).unwrap()
        );
    }
}
