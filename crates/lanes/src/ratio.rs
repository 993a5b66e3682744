//! Ratio lanes of one group: which of them a key falls into (semantics §5).

use smallvec::SmallVec;

use crate::{
    Request,
    condition::Parameter,
    hash::hash,
    values::{self, Values},
};

/// The whole, in hundredths of a percent.
pub(crate) const WHOLE_HUNDREDTHS: u16 = 10_000;

/// All ratio lanes of a group that entrances may match, in rule-2 order.
#[derive(Debug, Default)]
pub(crate) struct Draw {
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    /// Index into the group's lanes.
    index: u16,
    percent_hundredths: u16,
    sticky_by: Option<Parameter>,
    /// `group NUL tag NUL`, what is hashed before the key.
    seed: Box<[u8]>,
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
    pub(crate) percent_hundredths: u16,
    /// What the key was read from, and the key; `None`: drawn for this request alone.
    pub(crate) key: Option<(&'a Parameter, &'a [u8])>,
}

impl Draw {
    /// Adds a lane after those already there.
    pub(crate) fn add(
        &mut self,
        index: u16,
        group: &str,
        tag: &str,
        percent_hundredths: u16,
        sticky_by: Option<&Parameter>,
    ) {
        let seed = [group.as_bytes(), b"\0", tag.as_bytes(), b"\0"].concat().into();
        self.lanes.push(Lane { index, percent_hundredths, sticky_by: sticky_by.cloned(), seed });
    }

    /// The lane the request falls into. `random` is asked at most once. `tell` hears of every lane tried.
    pub(crate) fn first(
        &self,
        request: &impl Request,
        random: &mut impl FnMut() -> [u8; 16],
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
            let sticky = last
                .as_ref()
                .filter(|_| lane.sticky_by.is_some())
                .and_then(|(parameter, values)| Some((*parameter, &**values.first()?)))
                .filter(|(_, value)| !value.is_empty());
            let random_key;
            let key = match sticky {
                Some((_, value)) => value,
                None => {
                    random_key = *drawn.get_or_insert_with(&mut *random);
                    &random_key[..]
                }
            };
            let point = point(&lane.seed, key, left);
            let took = point < u64::from(lane.percent_hundredths);
            tell(Tried {
                lane: lane.index,
                took,
                point,
                left,
                percent_hundredths: lane.percent_hundredths,
                key: sticky,
            });
            if took {
                return Some(lane.index);
            }
            left = left.saturating_sub(u64::from(lane.percent_hundredths));
        }
        None
    }
}

/// Where `key` falls in `0..left`. The hash is over `seed` and `key` in one.
fn point(seed: &[u8], key: &[u8], left: u64) -> u64 {
    let mut bytes = SmallVec::<[u8; 256]>::from_slice(seed);
    bytes.extend_from_slice(key);
    ((hash(&bytes) >> 32) * left) >> 32
}
