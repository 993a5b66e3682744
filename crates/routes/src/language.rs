//! Languages: the texts that a regular expression matches as a whole; and whether some text can be in several of them.

use std::collections::{HashMap, HashSet};

use regex_automata::{
    Anchored, MatchKind,
    hybrid::{
        LazyStateID,
        dfa::{Cache, Config, DFA},
    },
    nfa::thompson,
    util::{start, syntax},
};
use smallvec::SmallVec;

/// Places in all automata at once that are looked at: more than what people write needs, in a few milliseconds.
const PLACES_MAX: usize = 2_000;

/// Bytes of an automaton, and of what is kept of it while it is walked: some of the largest that conditions may have.
const AUTOMATON_BYTES_MAX: usize = 4 << 20;

/// Automata that are kept: those that are asked for again and again are few.
const AUTOMATA_KEPT_MAX: usize = 32;

/// What is known of languages, by their regular expressions.
#[derive(Debug, Default)]
pub struct Languages {
    automata: HashMap<String, Automaton>,
}

impl Languages {
    /// Whether some text may be among those of each of `these` and of none of `those`. What cannot be read, or is too
    /// large to be looked through, rules nothing out.
    pub fn may_meet(&mut self, these: &[&str], those: &[&str]) -> bool {
        let patterns = these.iter().map(|it| (it, true)).chain(those.iter().map(|it| (it, false)));
        let mut read = Vec::new();
        let mut automata = Vec::new();
        for (pattern, is_wanted) in patterns {
            if let Some(automaton) = self.take(pattern) {
                read.push(*pattern);
                automata.push((automaton, is_wanted));
            }
        }
        let mut walk = Walk { automata };
        let may_meet = walk.finds_text().unwrap_or(true);
        for (pattern, (automaton, _)) in read.into_iter().zip(walk.automata) {
            self.keep(pattern, automaton);
        }
        may_meet
    }

    /// Whether a text is among those of `pattern`, as far as that can be said.
    pub fn may_have(&mut self, pattern: &str, text: &str) -> bool {
        self.walk(pattern, text, |automaton, end| automaton.accepts(end))
    }

    /// Whether one of them may begin with a text.
    pub fn may_have_beginning(&mut self, pattern: &str, text: &str) -> bool {
        self.walk(pattern, text, Automaton::goes_on)
    }

    /// Reads a text, and asks where it ends.
    fn walk(
        &mut self,
        pattern: &str,
        text: &str,
        ask: impl Fn(&mut Automaton, LazyStateID) -> Result<bool, Unknown>,
    ) -> bool {
        let Some(mut automaton) = self.take(pattern) else { return true };
        let end = automaton
            .start()
            .and_then(|start| text.bytes().try_fold(start, |at, byte| automaton.step(at, byte)));
        let answer = end.and_then(|end| ask(&mut automaton, end)).unwrap_or(true);
        self.keep(pattern, automaton);
        answer
    }

    fn take(&mut self, pattern: &str) -> Option<Automaton> {
        self.automata.remove(pattern).or_else(|| Automaton::new(pattern))
    }

    fn keep(&mut self, pattern: &str, automaton: Automaton) {
        if self.automata.len() >= AUTOMATA_KEPT_MAX {
            self.automata.clear();
        }
        self.automata.insert(pattern.to_owned(), automaton);
    }
}

/// The regular expression of one text.
pub(crate) fn literal(text: &str) -> String {
    regex::escape(text)
}

/// The regular expression of all texts that begin with this one.
pub fn beginning(text: &str) -> String {
    format!("{}(?s-u:.*)", regex::escape(text))
}

/// One language, as it is walked.
#[derive(Debug)]
struct Automaton {
    states: DFA,
    cache: Cache,
}

/// It is too much to say.
struct Unknown;

/// Where a text leads in every automaton.
type Place = SmallVec<[LazyStateID; 4]>;

impl Automaton {
    fn new(pattern: &str) -> Option<Self> {
        // Every match counts, not the preferred one; states that were named once stay.
        let config = Config::new()
            .match_kind(MatchKind::All)
            .unicode_word_boundary(true)
            .cache_capacity(AUTOMATON_BYTES_MAX)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(0));
        let states = DFA::builder()
            .configure(config)
            .syntax(syntax::Config::new().utf8(false))
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(AUTOMATON_BYTES_MAX)))
            .build(pattern)
            .ok()?;
        let cache = states.create_cache();
        Some(Self { states, cache })
    }

    fn start(&mut self) -> Result<LazyStateID, Unknown> {
        let whole = start::Config::new().anchored(Anchored::Yes);
        self.states.start_state(&mut self.cache, &whole).map_err(|_| Unknown)
    }

    /// Where a byte leads.
    fn step(&mut self, at: LazyStateID, byte: u8) -> Result<LazyStateID, Unknown> {
        let next = self.states.next_state(&mut self.cache, at, byte).map_err(|_| Unknown)?;
        if next.is_quit() { Err(Unknown) } else { Ok(next) }
    }

    /// Whether a text that gets here is in the language, or begins one that is.
    fn goes_on(&mut self, at: LazyStateID) -> Result<bool, Unknown> {
        if self.accepts(at)? {
            return Ok(true);
        }
        // A state after the end of a match is dead one byte later.
        for byte in 0..=u8::MAX {
            if !self.step(at, byte)?.is_dead() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a text that ends here is in the language.
    fn accepts(&mut self, at: LazyStateID) -> Result<bool, Unknown> {
        let end = self.states.next_eoi_state(&mut self.cache, at).map_err(|_| Unknown)?;
        Ok(end.is_match())
    }
}

/// Several automata that read the same text, and whether it is to be in the language of each.
struct Walk {
    automata: Vec<(Automaton, bool)>,
}

impl Walk {
    /// Looks for a text on which all agree, the shortest first.
    fn finds_text(&mut self) -> Result<bool, Unknown> {
        let bytes = self.telling_bytes();
        let automata = self.automata.iter_mut();
        let start: Place =
            automata.map(|(automaton, _)| automaton.start()).collect::<Result<_, _>>()?;
        let mut known: HashSet<Place> = HashSet::from([start.clone()]);
        let mut places = vec![start];
        let mut next = 0;
        while let Some(place) = places.get(next).cloned() {
            next += 1;
            if self.ends(&place)? {
                return Ok(true);
            }
            for byte in &bytes {
                let Some(then) = self.step(&place, *byte)? else { continue };
                if known.insert(then.clone()) {
                    places.push(then);
                }
            }
            if places.len() > PLACES_MAX {
                return Err(Unknown);
            }
        }
        Ok(false)
    }

    /// Whether all agree on the text that leads to a place.
    fn ends(&mut self, place: &Place) -> Result<bool, Unknown> {
        for ((automaton, is_wanted), at) in self.automata.iter_mut().zip(place) {
            if automaton.accepts(*at)? != *is_wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where a byte leads; nowhere when a language that the text is to be in has none that goes on so.
    fn step(&mut self, place: &Place, byte: u8) -> Result<Option<Place>, Unknown> {
        let mut then = Place::new();
        for ((automaton, is_wanted), at) in self.automata.iter_mut().zip(place) {
            let next = automaton.step(*at, byte)?;
            if *is_wanted && next.is_dead() {
                return Ok(None);
            }
            then.push(next);
        }
        Ok(Some(then))
    }

    /// One byte of every sort that some automaton tells from the others.
    fn telling_bytes(&self) -> Vec<u8> {
        let mut sorts: HashSet<Vec<u8>> = HashSet::new();
        let sort = |byte: u8| {
            let automata = self.automata.iter();
            automata.map(|(automaton, _)| automaton.states.byte_classes().get(byte)).collect()
        };
        (0..=u8::MAX).filter(|byte| sorts.insert(sort(*byte))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(these: &[&str], those: &[&str], expected: bool) {
        assert_eq!(
            Languages::default().may_meet(these, those),
            expected,
            "{these:?} without {those:?}"
        );
    }

    #[test]
    fn texts_that_two_languages_share_are_found() {
        check(&["/a.*", ".*/b"], &[], true);
        check(&["a|b", "b|c"], &[], true);
        check(&["a|b", "c|d"], &[], false);
        check(&["[a-z]+", "[A-Z]+"], &[], false);
        check(&["[a-z]+", "(?i)ABC"], &[], true);
        check(&["[a-z]*", "[A-Z]*"], &[], true);
        check(&[r"gray$x", "(?s-u:.*)"], &[], false);
        check(&[r"[^\s\S]", "(?s-u:.*)"], &[], false);
        check(&["^a$", "a"], &[], true);
        check(&["(?x) a # that", "a"], &[], true);
        check(&["a??b*?", "abb"], &[], true);
    }

    #[test]
    fn texts_that_one_language_has_and_another_has_not_are_found() {
        check(&["a|b"], &["a"], true);
        check(&["a|b"], &["a", "b"], false);
        check(&["/.*"], &[".*"], false);
        check(&["/.*"], &["/[a-z]*"], true);
        check(&["a+"], &["a*"], false);
    }

    #[test]
    fn what_cannot_be_read_or_looked_through_rules_nothing_out() {
        check(&["(", "a"], &[], true);
        check(&["a"], &["("], true);
        check(&["[ab]*a[ab]{20}", "[ab]*b[ab]{20}"], &[], true);
        check(&[r"\bé\b", "x"], &[], true);
    }

    #[test]
    fn texts_and_what_begins_with_them_are_taken_letter_by_letter() {
        check(&[&literal("a.b*"), r"a\.b\*"], &[], true);
        check(&[&literal("a.b"), "axb"], &[], false);
        check(&[&beginning("a.b"), "a[.]bc"], &[], true);
        check(&[&beginning("a.b"), "axbc"], &[], false);
        check(&[&beginning(""), ""], &[], true);
        let mut languages = Languages::default();
        for (text, is_in, begins) in
            [("/a", true, true), ("/", false, true), ("a", false, false), ("/ab", false, false)]
        {
            assert_eq!(languages.may_have("/a|/bc", text), is_in, "{text}");
            assert_eq!(languages.may_have_beginning("/a|/bc", text), begins, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_matches_both_may_meet(
            one in "(\\^|[/a*.?|()\\[\\]+$-]){0,8}",
            other in "(\\^|[/a*.?|()\\[\\]+$-]){0,8}",
            text in "[/a*]{0,5}",
        ) {
            let matches = |pattern: &str| {
                let alone = regex::bytes::Regex::new(pattern).ok();
                let whole = regex::bytes::Regex::new(&format!(r"\A(?:{pattern})\z")).ok();
                alone.and(whole).map(|whole| whole.is_match(text.as_bytes()))
            };
            match (matches(&one), matches(&other)) {
                (Some(true), Some(true)) => {
                    proptest::prop_assert!(Languages::default().may_meet(&[&one, &other], &[]), "{one} {other} {text}");
                }
                (Some(true), Some(false)) => {
                    proptest::prop_assert!(Languages::default().may_meet(&[&one], &[&other]), "{one} {other} {text}");
                }
                _ => {}
            }
        }
    }
}
