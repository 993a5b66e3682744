//! Ratio lanes of one group: which of them a key falls into (semantics §5).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{
    Affinity, Request,
    affinity::{Issue, IssuedCookie},
    condition::Parameter,
    hash::hash,
    values::{self, Values},
};

/// The whole, in hundredths of a percent.
pub(crate) const WHOLE_HUNDREDTHS: u16 = 10_000;

/// All ratio lanes of a group that entrances may match, and those that are paused, in rule-2 order.
#[derive(Debug, Default)]
pub(crate) struct Draw {
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    /// Index into the group's lanes.
    index: u16,
    share: Share,
    sticky_by: Option<Parameter>,
    /// The cookie of `sticky_by`, where gateways issue it.
    issued: Option<Arc<IssuedCookie>>,
    /// `group NUL tag NUL`, what is hashed before the key.
    seed: Box<[u8]>,
}

/// What of the requests falls to a lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) percent_hundredths: u16,
    /// Who falls to it is base. It is drawn as ever, so that pausing and resuming moves nobody into, out of or between
    /// the lanes after it.
    pub(crate) is_paused: bool,
}

/// One lane tried, for those who want to know why.
#[derive(Debug)]
pub(crate) struct Tried<'a> {
    pub(crate) lane: u16,
    pub(crate) took: bool,
    /// Where the key fell, in `0..left`.
    pub(crate) point: u64,
    /// What earlier lanes left, in hundredths of a percent.
    pub(crate) left: u64,
    pub(crate) share: Share,
    pub(crate) key: TriedKey<'a>,
}

/// Where a key is from.
#[derive(Debug)]
pub(crate) enum TriedKey<'a> {
    /// The request has it.
    Read(&'a Parameter, &'a [u8]),
    /// Drawn, and issued with the answer.
    Issued(&'a IssuedCookie),
    /// Drawn for this request alone.
    Random,
}

impl Draw {
    /// Adds a lane after those already there.
    pub(crate) fn add(
        &mut self,
        index: u16,
        (group, tag): (&str, &str),
        share: Share,
        sticky_by: Option<&Parameter>,
        issue: Option<&Issue>,
    ) {
        let seed = [group.as_bytes(), b"\0", tag.as_bytes(), b"\0"].concat().into();
        let issued = match (sticky_by, issue) {
            (Some(Parameter::Cookie(name)), Some(issue)) => {
                Some(Arc::new(IssuedCookie { name: name.clone(), issue: issue.clone() }))
            }
            _ => None,
        };
        let sticky_by = sticky_by.cloned();
        self.lanes.push(Lane { index, share, sticky_by, issued, seed });
    }

    /// The lane the request falls into; none where that is paused. `affinity`: of whom issues cookies; it hears of those that are looked for.
    /// `random` is asked at most once, and once for all cookies that are issued. `tell` hears of every lane tried.
    pub(crate) fn first(
        &self,
        request: &impl Request,
        random: &mut impl FnMut() -> [u8; 16],
        mut affinity: Option<&mut Affinity>,
        mut tell: impl FnMut(Tried<'_>),
    ) -> Option<u16> {
        let mut left = u64::from(WHOLE_HUNDREDTHS);
        let mut drawn = None;
        // Lanes of one group nearly always share the parameter: it is read once.
        let mut last: Option<(&Parameter, Values<'_>)> = None;
        for lane in &self.lanes {
            if let Some(parameter) = &lane.sticky_by
                && last.as_ref().is_none_or(|(read, _)| *read != parameter)
            {
                last = Some((parameter, values::read(parameter, request)));
            }
            let issued = lane.issued.as_ref().zip(affinity.as_deref_mut());
            let sticky = last
                .as_ref()
                .filter(|_| lane.sticky_by.is_some())
                .and_then(|(parameter, values)| Some((*parameter, key_of(values, &issued)?)));
            let (random_key, issued_key);
            let (key, from) = match (sticky, issued) {
                (Some((parameter, value)), issued) => {
                    if let Some((_, affinity)) = issued {
                        affinity.is_by_cookie = true;
                    }
                    (value, TriedKey::Read(parameter, value))
                }
                (None, Some((cookie, affinity))) if cookie.issue.is_sent_with(request) => {
                    affinity.is_by_cookie = true;
                    issued_key = affinity.issue(cookie, &mut *random);
                    (&issued_key[..], TriedKey::Issued(cookie))
                }
                (None, issued) => {
                    if let Some((_, affinity)) = issued {
                        affinity.is_by_cookie = true;
                    }
                    random_key = *drawn.get_or_insert_with(&mut *random);
                    (&random_key[..], TriedKey::Random)
                }
            };
            let point = point(&lane.seed, key, left);
            let percent = u64::from(lane.share.percent_hundredths);
            let took = point < percent;
            tell(Tried { lane: lane.index, took, point, left, share: lane.share, key: from });
            if took {
                return (!lane.share.is_paused).then_some(lane.index);
            }
            left = left.saturating_sub(percent);
        }
        None
    }
}

/// The key among the values of a lane's parameter: the first, unless it is empty; where the cookie is issued, the first that
/// is not empty, so that none that lies in its way for good has every request drawn anew. Whatever is there is a key: it is
/// hashed and nothing else, a forged one is merely another place, and to replace what an application has set under the name
/// (a signed session of any length) would sign its users out.
fn key_of<'v>(
    values: &'v Values<'_>,
    issued: &Option<(&Arc<IssuedCookie>, &mut Affinity)>,
) -> Option<&'v [u8]> {
    let mut values = values.iter().map(|value| &**value);
    match issued {
        Some(_) => values.find(|value| !value.is_empty()),
        None => values.next().filter(|value| !value.is_empty()),
    }
}

/// Where `key` falls in `0..left`. The hash is over `seed` and `key` in one.
fn point(seed: &[u8], key: &[u8], left: u64) -> u64 {
    let mut bytes = SmallVec::<[u8; 256]>::from_slice(seed);
    bytes.extend_from_slice(key);
    ((hash(&bytes) >> 32) * left) >> 32
}
