//! What an answer tells its client of the cookie that its request was placed by: to come with it the next time, and to
//! caches that whoever has another may be answered otherwise (semantics §5).

use lanes::Affinity;
use routes::spec::HeaderEdits;

use crate::h1::{head::Field, response::ResponseHead};

/// What is owed to the client of one request.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    affinity: Affinity,
    /// The request came in TLS.
    is_secured: bool,
}

/// What the head of an answer is given beside what the instance has said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnswerEdits<'a> {
    /// Of the route.
    pub(crate) headers: &'a [HeaderEdits],
    pub(crate) owed: &'a Owed,
}

impl Owed {
    /// What a decision has left to be said. `is_secured`: its request came in TLS.
    pub(crate) fn new(affinity: Affinity, is_secured: bool) -> Self {
        Self { affinity, is_secured }
    }
}

impl AnswerEdits<'_> {
    /// Whether an answer has a `Date`, or its route sees to that.
    #[inline]
    pub(crate) fn say_when(&self, head: &ResponseHead) -> bool {
        let is_date = |name: &str| name.eq_ignore_ascii_case("date");
        head.has_date()
            || self.headers.iter().any(|headers| {
                headers.replaced().any(is_date) || headers.written().any(|(name, _)| is_date(name))
            })
    }

    /// Writes the fields that the route adds, and what is owed. `fields`: those of the answer that are kept go on.
    #[inline]
    pub(crate) fn write(&self, bytes: &[u8], fields: &[Field], mut write: impl FnMut(&str, &[u8])) {
        for headers in self.headers {
            for (name, value) in headers.written() {
                write(name, value.as_bytes());
            }
        }
        if self.owed.affinity.is_by_cookie {
            self.write_owed(bytes, fields, &mut write);
        }
    }

    #[cold]
    fn write_owed(&self, bytes: &[u8], fields: &[Field], write: &mut dyn FnMut(&str, &[u8])) {
        let kept = fields.iter().filter(|field| field.keep);
        let kept = kept.map(|field| (field.name_of(bytes), field.value.of(bytes)));
        let added = self.headers.iter().flat_map(HeaderEdits::written);
        let added = added.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let all: Vec<(&[u8], &[u8])> = kept.chain(added).collect();
        let named = |wanted: &'static str| {
            let fields = all.iter();
            let fields = fields.filter(move |it| it.0.eq_ignore_ascii_case(wanted.as_bytes()));
            fields.map(|(_, value)| *value)
        };
        let says = |name, is_it: fn(&[u8]) -> bool| {
            let words = named(name).flat_map(|value| value.split(|byte| *byte == b','));
            words.map(<[u8]>::trim_ascii).any(is_it)
        };
        if !says("vary", |word| word == b"*" || word.eq_ignore_ascii_case(b"cookie")) {
            write("vary", b"cookie");
        }
        let Some(issued) = &self.owed.affinity.issued else { return };
        // A shared cache would hand the cookie of one to all.
        let is_public = says("cache-control", is_for_everybody);
        let is_private = is_public || says("cache-control", is_for_one);
        let mut is_any_set = false;
        for cookie in issued.cookies().filter(|it| !is_public || it.issue.on_public_answers) {
            // The application has given its client a key of its own.
            let is_set = named("set-cookie").any(|value| is_cookie_named(value, &cookie.name));
            if !is_set {
                let value = cookie.set_cookie(issued.key(), self.owed.is_secured);
                write("set-cookie", value.as_bytes());
                is_any_set = true;
            }
        }
        // It may keep what says nothing, too, or only how long (RFC 9111 §3, §4.2.2), and a `Set-Cookie` is no hindrance.
        if is_any_set && !is_private {
            write("cache-control", b"private");
        }
    }
}

/// Whether a directive of `Cache-Control` says that shared caches are to keep an answer.
fn is_for_everybody(directive: &[u8]) -> bool {
    let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    name.eq_ignore_ascii_case(b"public") || name.eq_ignore_ascii_case(b"s-maxage")
}

/// Whether a directive of `Cache-Control` keeps an answer, all of it, out of shared caches.
fn is_for_one(directive: &[u8]) -> bool {
    directive.eq_ignore_ascii_case(b"private") || directive.eq_ignore_ascii_case(b"no-store")
}

fn is_cookie_named(set_cookie: &[u8], name: &str) -> bool {
    let found = set_cookie.split(|byte| *byte == b'=').next().unwrap_or_default();
    found.trim_ascii() == name.as_bytes()
}
