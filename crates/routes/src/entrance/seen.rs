//! A request as routes and conditions see it: after the entrance has dropped what it does not believe.

use std::{marker::PhantomData, net::IpAddr};

use lanes::baggage;

use super::{field::Fields, name::Name};

/// The head of a request, however a codec holds it.
pub trait Head<'b>: Fields<'b> {
    /// The method, as sent.
    fn method(&self) -> &str;
    /// The scheme, where the target names one.
    fn scheme(&self) -> Option<&'static str>;
    /// The host with its port as sent; empty where there is none.
    fn authority(&self) -> &'b [u8];
    /// The host, lower-case, without port and without the dot that ends a whole name.
    fn host(&self) -> &str;
    /// The path as it is matched and forwarded.
    fn path(&self) -> &str;
    /// The query without `?`, percent-encoded.
    fn query(&self) -> &str;
    /// Makes one slash of those in a row in the path.
    fn merge_slashes(&mut self);
    /// It was looked at whom this entrance believes: what is still there is believed.
    fn judge(&mut self);
    /// Whether that was done: else what came is nobody's word.
    fn is_judged(&self) -> bool;
}

/// What routes and conditions see of a head.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'h, 'b, H> {
    head: &'h H,
    method: &'h str,
    host: &'h str,
    path: &'h str,
    query: &'h str,
    client_ip: IpAddr,
    hides_lanes: bool,
    text: PhantomData<&'b [u8]>,
}

impl<'h, 'b, H: Head<'b>> Seen<'h, 'b, H> {
    /// `hides_lanes`: the lane members of its baggage are not believed.
    pub(super) fn new(head: &'h H, client_ip: IpAddr, hides_lanes: bool) -> Self {
        Self {
            head,
            method: head.method(),
            host: head.host(),
            path: head.path(),
            query: head.query(),
            client_ip,
            hides_lanes,
            text: PhantomData,
        }
    }
}

impl<'b, H: Head<'b>> lanes::Request for Seen<'_, 'b, H> {
    fn method(&self) -> &str {
        self.method
    }

    fn host(&self) -> &str {
        self.host
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> &str {
        self.query
    }

    fn client_ip(&self) -> IpAddr {
        self.client_ip
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let is_hidden = |name| self.hides_lanes && name == Name::Baggage;
        let whole = self.head.kept().filter(move |field| !is_hidden(field.name));
        let whole = whole.map(|field| (field.written, field.value));
        // One list in several fields means the same as in one: what is left on both sides of a lane member are two.
        let values = self.hides_lanes.then(|| self.head.values(Name::Baggage));
        let runs = values.into_iter().flatten().flat_map(baggage::foreign_runs);
        whole.chain(runs.map(|value| (&b"baggage"[..], value)))
    }
}
