//! What a route changes of a request and its answer on the way, besides what every proxy must change. One place, so
//! that what `explain` says an application receives is what a gateway sends to it.

use crate::{
    Backend, Rule,
    entrance::{self, Decided, Head, Name, Policy, Written},
    spec::{HeaderEdits, RewriteSpec},
};

/// The changes. Data: a codec writes them.
#[derive(Debug, Clone, Copy)]
pub struct Edits<'p> {
    /// The rule's, then the backend's.
    request_headers: &'p [HeaderEdits],
    /// Likewise, of the answer.
    pub response_headers: &'p [HeaderEdits],
    /// How host and path are rewritten, and how many bytes of the path the rule matched.
    rewrite: Option<(&'p RewriteSpec, usize)>,
}

impl<'p> Edits<'p> {
    /// There is no route.
    pub const NONE: Self = Self { request_headers: &[], response_headers: &[], rewrite: None };

    /// What a rule that matched so many bytes of the path and its backend change.
    pub fn of(rule: &'p Rule, backend: &'p Backend, matched_bytes: usize) -> Self {
        let rewrite = backend.rewrite.as_ref().or(rule.rewrite.as_ref());
        Self {
            request_headers: &backend.request_headers,
            response_headers: &backend.response_headers,
            rewrite: rewrite.map(|rewrite| (rewrite, matched_bytes)),
        }
    }

    /// Makes of a decided request the one that goes on to `service`: drops what is replaced or removed, and writes what
    /// Laneway says itself. What is left to a codec: the path by [`write_path`](Self::write_path), and at the end the
    /// fields of [`added`](Self::added).
    pub fn send_on<'b>(
        &self,
        head: &mut impl Head<'b>,
        policy: Policy<'_>,
        decided: Decided<'_>,
        service: &str,
        random: impl FnMut() -> [u8; 16],
        written: &mut Written,
    ) {
        let hostname = self.rewrite.and_then(|(rewrite, _)| rewrite.hostname.as_deref());
        entrance::write_host(head, hostname, service, written);
        for headers in self.request_headers {
            headers.replaced().for_each(|name| head.drop_where(|field| field.is_named(name)));
        }
        entrance::write(head, policy, decided, random, written);
        for headers in self.request_headers {
            headers.replaced().for_each(|name| written.remove(Name::of(name.as_bytes())));
        }
    }

    /// Appends the path that is sent instead of this one, without query.
    #[inline]
    pub fn write_path(&self, path: &[u8], out: &mut Vec<u8>) {
        match self.rewrite {
            Some((rewrite, matched_bytes)) => {
                let path = std::str::from_utf8(path).unwrap_or_default();
                rewrite.write_path(path, matched_bytes, out);
            }
            None => out.extend_from_slice(path),
        }
    }

    /// Names and values of the request's fields that the route adds, behind those that are kept.
    pub fn added(&self) -> impl Iterator<Item = (&'p str, &'p str)> + use<'p> {
        self.request_headers.iter().flat_map(HeaderEdits::written)
    }
}
