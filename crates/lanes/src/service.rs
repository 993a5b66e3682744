//! Services and their endpoints, sorted by tag for the choice.

mod endpoint;

use std::{cmp::Ordering, collections::HashSet, fmt, net::SocketAddr, ops::Range, sync::Arc};

use crate::Tag;
pub use endpoint::{Endpoint, FurtherAddresses, Health, Port, Protocol};

/// The source of instances that are registered by their own sidecars, as Backends and identities spell it.
pub const EMBEDDED_SOURCE: &str = "embedded";

/// Which service: of which source, in which namespace and group of it, under which name. All lower-case: services
/// match case-insensitively. A pointer wide: directories hold one for every address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServiceId(Arc<Parts>);

#[derive(PartialEq, Eq, Hash)]
struct Parts {
    /// The four parts one after the other. Nothing between them: a source may have any character in its names.
    text: Box<str>,
    /// Where the first three end.
    ends: [u32; 3],
}

impl ServiceId {
    /// From its four parts, lower-cased. `namespace` and `group` may be empty.
    pub fn new(source: &str, namespace: &str, group: &str, name: &str) -> Self {
        let mut text = source.to_lowercase();
        let ends = [namespace, group, name].map(|part| {
            let end = text.len() as u32;
            text.push_str(&part.to_lowercase());
            end
        });
        Self(Arc::new(Parts { text: text.into(), ends }))
    }

    /// The source it comes from.
    pub fn source(&self) -> &str {
        &self.0.text[..self.0.ends[0] as usize]
    }

    /// The namespace in its source; may be empty.
    pub fn namespace(&self) -> &str {
        &self.0.text[self.0.ends[0] as usize..self.0.ends[1] as usize]
    }

    /// The group in its namespace; empty where the source knows none.
    pub fn group(&self) -> &str {
        &self.0.text[self.0.ends[1] as usize..self.0.ends[2] as usize]
    }

    /// The name callers use, lower-cased.
    pub fn name(&self) -> &str {
        &self.0.text[self.0.ends[2] as usize..]
    }

    fn in_order(&self) -> [&str; 4] {
        [self.source(), self.namespace(), self.group(), self.name()]
    }
}

impl Ord for ServiceId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.in_order().cmp(&other.in_order())
    }
}

impl PartialOrd for ServiceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `source/namespace/group/name`, for people. Nobody reads it back, yet no two services read alike: a `/` or `%`
/// inside a part is written as in a URL.
impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.in_order().into_iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            for piece in part.split_inclusive(['/', '%']) {
                match piece.as_bytes().last() {
                    Some(b'/') => write!(f, "{}%2F", &piece[..piece.len() - 1])?,
                    Some(b'%') => write!(f, "{piece}25")?,
                    _ => f.write_str(piece)?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

/// The instances of one service, grouped by tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    id: ServiceId,
    name: Arc<str>,
    application: Arc<str>,
    endpoints: Box<[Endpoint]>,
    /// One per tag that occurs, in the order of `endpoints`.
    subsets: Box<[Subset]>,
    /// `weights_before[i]`: sum of the effective weights of the endpoints before `i`; one longer than
    /// `endpoints`. An endpoint that may not be chosen weighs nothing.
    weights_before: Box<[u64]>,
    /// Addresses of the instances beside the first of each, and whose they are. Sorted.
    other_addresses: Box<[(SocketAddr, u32)]>,
    has_silent: bool,
}

/// A run of [`Service::endpoints`]: the instances of one tag. A retry can stay among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subset {
    /// First index into [`Service::endpoints`].
    pub start: u32,
    /// One past the last index.
    pub end: u32,
}

impl Subset {
    /// The same as a range of indices.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Service {
    /// Sorts `endpoints` by tag and address; duplicates of one address keep the first.
    pub fn new(id: ServiceId, name: &str, application: &str, mut endpoints: Vec<Endpoint>) -> Self {
        let mut seen = HashSet::with_capacity(endpoints.len());
        endpoints.retain(|endpoint| seen.insert(endpoint.address));
        endpoints.sort_by(|a, b| (&a.tag, a.address).cmp(&(&b.tag, b.address)));

        let mut subsets = Vec::new();
        let mut weights_before = Vec::with_capacity(endpoints.len() + 1);
        let mut sum = 0;
        let mut start = 0;
        for peers in endpoints.chunk_by(|a, b| a.tag == b.tag) {
            let end = start + peers.len();
            subsets.push(Subset { start: start as u32, end: end as u32 });
            let only_zeros =
                peers.iter().all(|peer| !peer.health.takes_requests() || peer.weight == 0);
            for peer in peers {
                weights_before.push(sum);
                sum += match peer.health {
                    Health::Usable | Health::Silent if only_zeros => 1,
                    Health::Usable | Health::Silent => u64::from(peer.weight),
                    Health::Unhealthy | Health::Draining | Health::InvalidTag => 0,
                };
            }
            start = end;
        }
        weights_before.push(sum);

        let mut other_addresses: Vec<(SocketAddr, u32)> = endpoints
            .iter()
            .zip(0..)
            .flat_map(|(endpoint, index)| {
                endpoint.all_addresses().skip(1).map(move |it| (it, index))
            })
            .collect();
        other_addresses.sort_unstable();
        let has_silent = endpoints.iter().any(|it| it.health == Health::Silent);
        Self {
            id,
            name: name.into(),
            application: application.into(),
            endpoints: endpoints.into(),
            subsets: subsets.into(),
            weights_before: weights_before.into(),
            other_addresses: other_addresses.into(),
            has_silent,
        }
    }

    /// Its identity.
    pub fn id(&self) -> &ServiceId {
        &self.id
    }

    /// The name callers use, as registered.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The application behind it.
    pub fn application(&self) -> &Arc<str> {
        &self.application
    }

    /// All instances, usable or not, sorted by tag (base first), then address.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Whether its source does not hear from one of its instances.
    pub(crate) fn has_silent(&self) -> bool {
        self.has_silent
    }

    /// The instances with `tag` (`None`: the base), usable or not.
    pub(crate) fn subset(&self, tag: Option<&Tag>) -> Option<Subset> {
        let tag_of = |subset: &Subset| self.endpoints[subset.start as usize].tag.as_ref();
        let at = self.subsets.binary_search_by(|subset| tag_of(subset).cmp(&tag)).ok()?;
        Some(self.subsets[at])
    }

    /// Spreads over the usable endpoints of `subset` that `is_out` does not name, by weight; `None` if there
    /// is none. `ticket` is uniformly random.
    pub(crate) fn pick(
        &self,
        subset: Subset,
        is_out: impl Fn(&Endpoint) -> bool,
        ticket: u64,
    ) -> Option<&Endpoint> {
        let range = subset.range();
        let (before, total) = {
            let before = self.weights_before[range.start];
            (before, self.weights_before[range.end] - before)
        };
        if total == 0 {
            return None;
        }
        // Drawing again until the one drawn is not out gives the rest their exact shares.
        let mut ticket = mix(ticket);
        for _ in 0..DRAWS_MAX {
            let point = before + scale(ticket, total);
            // The last endpoint that begins at or before the point: those without weight begin where the
            // next one does.
            let index = range.start
                + self.weights_before[range.start..range.end]
                    .partition_point(|begin| *begin <= point)
                - 1;
            let drawn = &self.endpoints[index];
            if !is_out(drawn) {
                return Some(drawn);
            }
            ticket = mix(ticket);
        }
        self.pick_among_the_rest(range, is_out, ticket)
    }

    /// The slow way, for when most are out: looks at every endpoint.
    fn pick_among_the_rest(
        &self,
        range: Range<usize>,
        is_out: impl Fn(&Endpoint) -> bool,
        ticket: u64,
    ) -> Option<&Endpoint> {
        let rest = || {
            self.endpoints[range.clone()]
                .iter()
                .filter(|endpoint| endpoint.health.takes_requests() && !is_out(endpoint))
        };
        let sum: u64 = rest().map(|endpoint| u64::from(endpoint.weight)).sum();
        if sum == 0 {
            let count = rest().count() as u64;
            return rest().nth(scale(ticket, count) as usize);
        }
        let mut point = scale(ticket, sum);
        rest().find(|endpoint| match point.checked_sub(u64::from(endpoint.weight)) {
            Some(left) => {
                point = left;
                false
            }
            None => true,
        })
    }

    /// The endpoint that connections to `address` reach, be it one of several.
    pub fn reached_at(&self, address: SocketAddr) -> Option<&Endpoint> {
        self.endpoints.iter().find(|it| it.addresses().any(|it| it == address))
    }

    /// The endpoint that is reached, or whose application is, at `address`, be it one of several.
    pub fn endpoint_anywhere_at(&self, address: SocketAddr) -> Option<&Endpoint> {
        self.subsets.iter().find_map(|subset| self.endpoint_at(*subset, address))
    }

    /// The endpoint of `subset` that is reached, or whose application is, at `address`, be it one of several.
    pub(crate) fn endpoint_at(&self, subset: Subset, address: SocketAddr) -> Option<&Endpoint> {
        let peers = &self.endpoints[subset.range()];
        if let Ok(at) = peers.binary_search_by(|peer| peer.address.cmp(&address)) {
            return Some(&peers[at]);
        }
        let from = self.other_addresses.partition_point(|(have, _)| *have < address);
        self.other_addresses[from..]
            .iter()
            .take_while(|(have, _)| *have == address)
            .find(|(_, index)| (subset.start..subset.end).contains(index))
            .map(|(_, index)| &self.endpoints[*index as usize])
    }
}

/// Draws before every endpoint is looked at: with half of the peers out, one request in 256 pays for that.
const DRAWS_MAX: usize = 8;

/// `ticket` scaled to `0..total`.
fn scale(ticket: u64, total: u64) -> u64 {
    ((u128::from(ticket) * u128::from(total)) >> 64) as u64
}

/// A bijection that makes related tickets unrelated (the finalizer of SplitMix64): a caller may have used the
/// same ticket to choose the backend, or may count.
fn mix(ticket: u64) -> u64 {
    let mut mixed = ticket.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_mixed_as_splitmix64_does() {
        // Its first numbers from seed 0.
        let seed = 0x9e37_79b9_7f4a_7c15_u64;
        let numbers = [0, seed, seed.wrapping_mul(2)].map(mix);
        assert_eq!(numbers, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }

    #[test]
    fn tickets_scale_to_the_whole_range() {
        assert_eq!((scale(0, 7), scale(u64::MAX, 7), scale(u64::MAX / 2, 7)), (0, 6, 3));
        assert_eq!(scale(u64::MAX, u64::MAX), u64::MAX - 1);
        assert_eq!(scale(u64::MAX, 0), 0);
    }

    #[test]
    fn an_instance_in_several_places_has_one_share() {
        let at = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        let endpoint = |port, further: &[SocketAddr]| Endpoint {
            address: at(port),
            application_address: None,
            further: FurtherAddresses::beside((at(port), None), further, &[]),
            tag: None,
            weight: 1,
            health: Health::Usable,
            port: Port::default(),
        };
        let endpoints = vec![endpoint(1, &[at(11), at(12), at(13)]), endpoint(2, &[])];
        let service = Service::new(ServiceId::new("s", "", "", "a"), "a", "a", endpoints);
        let subset = service.subset(None).unwrap();
        let tickets = (0..1000).filter_map(|ticket| service.pick(subset, |_| false, ticket));
        let first = tickets.filter(|picked| picked.address == at(1)).count();
        assert!((430..570).contains(&first), "{first} of 1000");
        assert_eq!(service.endpoint_at(subset, at(13)).map(|it| it.address), Some(at(1)));
        assert_eq!(service.endpoint_anywhere_at(at(2)).map(|it| it.address), Some(at(2)));
        assert_eq!(service.endpoint_anywhere_at(at(14)), None);
    }

    #[test]
    fn a_service_id_has_four_parts_whatever_is_in_them() {
        let id = ServiceId::new("Nacos", "public", "DEFAULT_GROUP", "sc-A");
        assert_eq!(id.in_order(), ["nacos", "public", "default_group", "sc-a"]);
        assert_eq!(id, ServiceId::new("nacos", "PUBLIC", "default_group", "SC-a"));
        assert_eq!(id.to_string(), "nacos/public/default_group/sc-a");
        let odd = ServiceId::new("s", "a/b", "", "/50%/");
        assert_eq!(odd.in_order(), ["s", "a/b", "", "/50%/"]);
        assert_eq!(odd.to_string(), "s/a%2Fb//%2F50%25%2F");
    }

    #[test]
    fn service_ids_that_differ_in_one_part_differ_and_sort_by_part() {
        let ids = [
            ServiceId::new("s", "", "", "ab"),
            ServiceId::new("s", "", "a", "b"),
            ServiceId::new("s", "a", "", "b"),
            ServiceId::new("s", "a", "b", ""),
            ServiceId::new("s", "a/b", "", ""),
            ServiceId::new("s-t", "", "", ""),
            ServiceId::new("sa", "", "", "b"),
        ];
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1] && pair[0] != pair[1]));
        let texts: HashSet<String> = ids.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), ids.len());
    }
}
