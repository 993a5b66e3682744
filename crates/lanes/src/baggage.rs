//! Lane context on the wire: W3C `baggage` (semantics, "Lane context on the wire").

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::{
    Context, GroupName, Snapshot, Tag,
    context::Member,
    name::BASE,
    values::{decode_percent, decode_query, trim},
};

/// Bytes a whole `baggage` value may have; beyond it members that are not ours go (W3C Baggage §3.3.2).
pub const BAGGAGE_BYTES_MAX: usize = 8192;

/// Groups unknown here whose members travel on. A gateway is the entrance of at most 8, a chain passes few
/// entrances; the limit keeps a hostile header from costing quadratic time.
pub const FOREIGN_GROUPS_MAX: usize = 64;

/// What to do with `lane.*` members that arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// An untrusted listener: drop all of them.
    Strip,
    /// Inside the mesh: keep those of groups that `context` has no member for.
    Keep,
}

impl Context {
    /// Reads the `lane.*` members of all `baggage` values of a request. Groups the snapshot does not know are
    /// skipped (they travel on untouched); disabled lanes are members all the same (their hop is base).
    ///
    /// A tag that its group does not know is base, decided: no entrance decides anew for it.
    pub fn read<'a>(snapshot: &Snapshot, baggage: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut context = Self::default();
        for carried in carried(baggage) {
            let Some(group) = snapshot.group(carried.group) else { continue };
            if context.member(group).is_some() {
                continue;
            }
            let lane = match carried.tag() {
                CarriedTag::Base => None,
                CarriedTag::Tag(tag) => {
                    let lane = snapshot.groups()[usize::from(group)].lane(&tag);
                    context.unknown_tags += u16::from(lane.is_none());
                    lane
                }
                CarriedTag::Invalid => {
                    context.unknown_tags += 1;
                    None
                }
            };
            context.add(Member { group, lane });
        }
        context
    }
}

/// Appends the value of the one `baggage` header to send: lane members first, one per group, then all other
/// members of `incoming` untouched. Appends nothing when there is nothing to say.
///
/// Members of `context` that are base are written as `-` only for groups with an application as entrance.
/// With [`Incoming::Keep`] a tag that its group does not know here travels on: another data plane may.
pub fn write<'a>(
    snapshot: &Snapshot,
    context: &Context,
    incoming: impl Iterator<Item = &'a [u8]> + Clone,
    policy: Incoming,
    out: &mut Vec<u8>,
) {
    let mut list = List { start: out.len(), out };
    for member in context.members() {
        let group = &snapshot.groups()[usize::from(member.group)];
        let name = group.name().as_str();
        match member.lane {
            Some(lane) => list.lane(name, group.tag(lane).as_str().as_bytes()),
            None => {
                let unknown = (policy == Incoming::Keep)
                    .then(|| unknown_tag(snapshot, member.group, incoming.clone()))
                    .flatten();
                match unknown {
                    Some(tag) => list.lane(name, &tag),
                    None if group.has_application_entrance() => list.lane(name, BASE_DECIDED),
                    None => {}
                }
            }
        }
    }
    if policy == Incoming::Keep {
        let is_written =
            |name: &str| snapshot.group(name).is_some_and(|group| context.member(group).is_some());
        first_of_each_group(incoming.clone())
            .filter(|carried| !is_written(carried.group))
            .for_each(|carried| list.carried(&carried));
    }
    for member in members(incoming) {
        if matches!(member.kind(), Kind::Other) {
            list.push(&[member.text]);
        }
    }
}

/// Appends only the `lane.*` members of `incoming`, joined by commas, first of each group, sorted by group:
/// what correlation remembers of a request. Empty means base.
pub fn lane_members<'a>(incoming: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let mut found: SmallVec<[Carried<'a>; 8]> = first_of_each_group(incoming).collect();
    found.sort_by_key(|carried| carried.group);
    let mut list = List { start: out.len(), out };
    found.iter().for_each(|carried| list.carried(carried));
}

/// Whether a value has members that are ours, or would be read as ours by others: not those that only speak of lanes.
pub fn has_lane_members(value: &[u8]) -> bool {
    // A key that is ours has these bytes, or hides some of them behind a `%`.
    (memchr::memmem::find(value, PREFIX).is_some() || memchr::memchr(b'%', value).is_some())
        && members(std::iter::once(value)).any(|member| !matches!(member.kind(), Kind::Other))
}

/// The members of a value that are not ours, as they came: one run where no lane member lies between them.
pub fn foreign_runs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let mut run: Option<(usize, usize)> = None;
        while at <= value.len() {
            let end = memchr::memchr(b',', &value[at..]).map_or(value.len(), |bytes| at + bytes);
            let member = RawMember { text: trim(&value[at..end]) };
            let is_other = matches!(member.kind(), Kind::Other);
            if is_other && !member.text.is_empty() {
                run = Some((run.map_or(at, |(start, _)| start), end));
            }
            at = end + 1;
            if !is_other && run.is_some() {
                break;
            }
        }
        run.map(|(start, end)| trim(&value[start..end]))
    })
}

/// Base, where it must be told from "not decided".
const BASE_DECIDED: &[u8] = b"-";

/// Keys that are ours.
const PREFIX: &[u8] = b"lane.";

/// A `lane.*` member as it arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried<'a> {
    /// A valid group name.
    pub(crate) group: &'a str,
    /// Trimmed, not decoded.
    value: &'a [u8],
}

/// What a carried member says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CarriedTag<'a> {
    /// `-`, `base` or nothing.
    Base,
    /// A valid tag, known or not.
    Tag(Cow<'a, [u8]>),
    /// No tag at all.
    Invalid,
}

impl<'a> Carried<'a> {
    pub(crate) fn tag(&self) -> CarriedTag<'a> {
        let tag = decode_percent(self.value);
        if tag.is_empty() || *tag == *BASE_DECIDED || *tag == *BASE.as_bytes() {
            CarriedTag::Base
        } else if Tag::is_valid(&tag) {
            CarriedTag::Tag(tag)
        } else {
            CarriedTag::Invalid
        }
    }
}

/// All lane members of all values, in order, duplicates included.
pub(crate) fn carried<'a>(
    baggage: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = Carried<'a>> {
    members(baggage).filter_map(|member| match member.kind() {
        Kind::Lane(carried) => Some(carried),
        Kind::Invalid | Kind::Other => None,
    })
}

fn first_of_each_group<'a>(
    baggage: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = Carried<'a>> {
    let mut seen: SmallVec<[&'a str; 8]> = SmallVec::new();
    carried(baggage).filter(move |carried| {
        let is_first = seen.len() < FOREIGN_GROUPS_MAX && !seen.contains(&carried.group);
        if is_first {
            seen.push(carried.group);
        }
        is_first
    })
}

/// The tag carried for a group, if it is one the group does not know.
fn unknown_tag<'a>(
    snapshot: &Snapshot,
    group: u16,
    incoming: impl Iterator<Item = &'a [u8]>,
) -> Option<Cow<'a, [u8]>> {
    let group = &snapshot.groups()[usize::from(group)];
    match carried(incoming).find(|carried| carried.group == group.name().as_str())?.tag() {
        CarriedTag::Tag(tag) if group.lane(&tag).is_none() => Some(tag),
        CarriedTag::Tag(_) | CarriedTag::Base | CarriedTag::Invalid => None,
    }
}

/// One list member of a `baggage` value.
struct RawMember<'a> {
    /// All of it, trimmed: what is sent on.
    text: &'a [u8],
}

enum Kind<'a> {
    /// A lane member.
    Lane(Carried<'a>),
    /// Claims to be ours and is not valid: goes.
    Invalid,
    /// Not ours.
    Other,
}

fn members<'a>(baggage: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = RawMember<'a>> {
    baggage
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|text| RawMember { text: trim(text) })
        .filter(|member| !member.text.is_empty())
}

impl<'a> RawMember<'a> {
    fn kind(&self) -> Kind<'a> {
        let properties = memchr::memchr(b';', self.text).unwrap_or(self.text.len());
        let pair = &self.text[..properties];
        let (key, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (trim(&pair[..at]), Some(trim(&pair[at + 1..]))),
            None => (trim(pair), None),
        };
        let Some(group) = key.strip_prefix(PREFIX) else {
            return if is_lane_key_to_others(key) { Kind::Invalid } else { Kind::Other };
        };
        match (std::str::from_utf8(group), value) {
            (Ok(group), Some(value)) if GroupName::is_valid(group.as_bytes()) => {
                Kind::Lane(Carried { group, value })
            }
            _ => Kind::Invalid,
        }
    }
}

/// Whether a library that decodes and strips keys (OpenTelemetry for Python and JavaScript do) would read a
/// lane member where we do not, and send it on as one that we believe.
fn is_lane_key_to_others(key: &[u8]) -> bool {
    let is_plain = key.first().is_none_or(|first| first.is_ascii_graphic() && *first != b'+')
        && memchr::memchr(b'%', key).is_none();
    if is_plain {
        return false;
    }
    let decoded = decode_query(key);
    String::from_utf8_lossy(&decoded)
        .trim_start_matches(|c: char| c.is_whitespace() || c <= ' ')
        .as_bytes()
        .starts_with(PREFIX)
}

/// A comma-separated list of at most [`BAGGAGE_BYTES_MAX`], appended to what was there.
struct List<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
}

impl List<'_> {
    fn lane(&mut self, group: &str, tag: &[u8]) {
        self.push(&[PREFIX, group.as_bytes(), b"=", tag]);
    }

    /// A member as it arrived; one that is no tag goes.
    fn carried(&mut self, carried: &Carried<'_>) {
        match carried.tag() {
            CarriedTag::Base => self.lane(carried.group, BASE_DECIDED),
            CarriedTag::Tag(tag) => self.lane(carried.group, &tag),
            CarriedTag::Invalid => {}
        }
    }

    /// Adds a member unless the list would become too long.
    fn push(&mut self, parts: &[&[u8]]) {
        let comma = usize::from(self.out.len() > self.start);
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if self.out.len() - self.start + comma + bytes > BAGGAGE_BYTES_MAX {
            return;
        }
        if comma == 1 {
            self.out.push(b',');
        }
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
    }
}
