//! What a certificate, and those that sign it, say of themselves, as people are told of it: which of them stands worst, and
//! who minds.

use std::{cmp::Reverse, time::SystemTime};

use lanes::Problem;
use routes::tls::Certificate;

use super::{Facts, Standing, parsed};
use crate::time::rfc3339;

/// A certificate with those that sign it, or authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    facts: Vec<Facts>,
    are_authorities: bool,
}

/// The one of them that stands worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worst {
    /// Its place among [`Described::facts`].
    pub place: usize,
    /// How it stands.
    pub standing: Standing,
}

impl Described {
    /// What is in a certificate that is distributed; or what would be right.
    pub fn of(certificate: &Certificate) -> Result<Self, String> {
        let signed = match &certificate.chain[..] {
            // Clients have their own, and look at none that is shown.
            [signed @ .., last] if !signed.is_empty() && signs_itself(last)? => signed,
            all => all,
        };
        let all = signed.iter().chain(&certificate.authorities);
        let facts: Result<Vec<Facts>, String> = all.map(|der| Facts::of(der)).collect();
        Ok(Self { facts: facts?, are_authorities: certificate.chain.is_empty() })
    }

    /// Of the certificate itself and of those that sign it, or of each authority.
    pub fn facts(&self) -> &[Facts] {
        &self.facts
    }

    /// What one of them is called in a sentence: the first is what the sentence is about.
    pub fn called(&self, place: usize) -> &str {
        if place == 0 { "it" } else { &self.facts[place].subject }
    }

    /// Until when it is good, or they are: of several authorities the one that expires first counts. Those that sign a
    /// certificate may have others beside them that are good for longer.
    pub fn good_until(&self) -> Option<SystemTime> {
        let authorities = if self.are_authorities { &self.facts[..] } else { &[] };
        let all = self.facts.first().into_iter().chain(authorities);
        all.map(|facts| facts.not_after).min()
    }

    /// The one that stands worst: the certificate itself, where it is not good, before those that sign it; of equals the one
    /// that expires first.
    pub fn worst(&self, now: SystemTime) -> Option<Worst> {
        let rank = |place: usize, facts: &Facts| {
            let standing = facts.standing(now);
            let is_its_own = standing != Standing::Good && self.is_certificate_itself(place);
            (is_its_own, standing, Reverse(facts.not_after))
        };
        let all = self.facts.iter().enumerate();
        let (place, facts) = all.max_by_key(|(place, facts)| rank(*place, facts))?;
        Some(Worst { place, standing: facts.standing(now) })
    }

    /// What comes of it that one of them is not good. Of those that sign a certificate clients may know better ones.
    pub fn consequence(&self, place: usize) -> &'static str {
        match (self.are_authorities, place) {
            (true, _) => "what it signs may be refused",
            (false, 0) => "clients refuse it",
            (false, _) => "some clients may refuse it",
        }
    }

    /// What is doubtful at a moment: it is served all the same, since a clock may be wrong, and since what ran yesterday
    /// must be there to be written again today.
    pub fn doubt(&self, field: &str, now: SystemTime) -> Option<Problem> {
        let Worst { place, standing } = self.worst(now)?;
        let (facts, who, consequence) =
            (&self.facts[place], self.called(place), self.consequence(place));
        let (at, remedy) = match standing {
            Standing::Good => return None,
            Standing::NotYet => {
                (facts.not_before, format!("{who} is not good yet: {consequence} until then"))
            }
            Standing::Expired => {
                (facts.not_after, format!("write a new one: {who} has expired, {consequence}"))
            }
            Standing::Expiring => (facts.not_after, format!("write a new one: {who} expires soon")),
        };
        Some(Problem::new(field, rfc3339(at), remedy).of(lanes::Fault::Expiry))
    }

    fn is_certificate_itself(&self, place: usize) -> bool {
        place == 0 && !self.are_authorities
    }
}

#[cfg(test)]
impl Described {
    /// Has each of them end at a moment.
    pub(super) fn end_after(&mut self, ends: impl IntoIterator<Item = SystemTime>) {
        self.facts.iter_mut().zip(ends).for_each(|(facts, end)| facts.not_after = end);
    }
}

/// Whether somebody says that nobody but he has signed it.
fn signs_itself(der: &[u8]) -> Result<bool, String> {
    let certificate = parsed(der)?;
    Ok(certificate.issuer().as_raw() == certificate.subject().as_raw())
}
