//! What a chain answered against what it should have answered, hop by hop.

use std::fmt;

use super::{
    scenario::Hop,
    traffic::{Answer, Client},
};

/// The first hop at which an answer is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deviation {
    /// Which hop, from 1; 0: none could be told.
    hop: usize,
    service: &'static str,
    expected: String,
    got: String,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hop, service, expected, got } = self;
        write!(f, "hop {hop} ({service}): expected {expected}, got {got}")
    }
}

/// Asks for `path` and compares.
pub(crate) async fn expect(
    client: &Client,
    path: &str,
    headers: &[(&str, &str)],
    expected: &[Hop],
) -> Result<(), String> {
    match client.get(path, headers).await {
        Ok(answer) => compare(&answer, expected).map_err(String::from),
        Err(error) => Err(format!("hop 1 ({}): no answer: {error}", expected[0].service)),
    }
}

/// Compares an answer with the chain it should name.
pub(crate) fn compare(answer: &Answer, expected: &[Hop]) -> Result<(), Deviation> {
    compare_any(answer, &[expected])
}

/// Compares an answer with several chains of one length, each hop of which may be that of any of them: while a
/// lane is switched, hops are decided one by one.
pub(crate) fn compare_any(answer: &Answer, chains: &[&[Hop]]) -> Result<(), Deviation> {
    let expected = chains[0];
    let mut hops = answer.body.split(" -> ");
    for (index, hop) in expected.iter().enumerate() {
        let got = hops.next().unwrap_or("nothing");
        let allowed: Vec<&str> = chains.iter().map(|chain| chain[index].answer.as_str()).collect();
        if !allowed.contains(&got) {
            return Err(deviation(index, hop, allowed, got, answer.status));
        }
    }
    let rest: Vec<&str> = hops.collect();
    let last = expected.len() - 1;
    if !rest.is_empty() {
        let got = format!("{} -> {}", expected[last].answer, rest.join(" -> "));
        return Err(deviation(
            last,
            &expected[last],
            vec![&expected[last].answer],
            &got,
            answer.status,
        ));
    }
    if answer.status != 200 {
        return Err(deviation(
            0,
            &expected[0],
            vec!["status 200"],
            "the right chain",
            answer.status,
        ));
    }
    Ok(())
}

fn deviation(index: usize, hop: &Hop, mut allowed: Vec<&str>, got: &str, status: u16) -> Deviation {
    allowed.dedup();
    let status = if status == 200 { String::new() } else { format!(" (status {status})") };
    Deviation {
        hop: index + 1,
        service: hop.service,
        expected: allowed.join(" or "),
        got: format!("{}{status}", got.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scenario::{base_chain, gray_chain};

    const BASE: &str = "A[127.0.0.11][config=base] -> B[127.0.0.12] -> C[127.0.0.13]";
    const GRAY: &str = "Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> Cgray[127.0.0.23]";

    #[track_caller]
    fn check(chains: &[&[Hop]], status: u16, body: &str, expected: &str) {
        let answer = Answer { status, body: body.to_owned() };
        let said =
            compare_any(&answer, chains).map_or_else(|it| it.to_string(), |()| "right".to_owned());
        assert_eq!(said, expected, "{status} {body}");
    }

    #[test]
    fn a_right_chain_is_right() {
        check(&[&base_chain()], 200, BASE, "right");
        check(&[&gray_chain()], 200, GRAY, "right");
    }

    #[test]
    fn the_first_wrong_hop_is_named_with_both_sides() {
        check(
            &[&gray_chain()],
            200,
            "Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> C[127.0.0.13]",
            "hop 3 (sc-C): expected Cgray[127.0.0.23], got C[127.0.0.13]",
        );
        check(
            &[&gray_chain()],
            502,
            "Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> sc-C answers 503: nobody",
            "hop 3 (sc-C): expected Cgray[127.0.0.23], got sc-C answers 503: nobody (status 502)",
        );
        check(
            &[&base_chain()],
            503,
            "no usable base instance of sc-A",
            "hop 1 (sc-A): expected A[127.0.0.11][config=base], got no usable base instance of sc-A (status 503)",
        );
        check(
            &[&base_chain()],
            200,
            "A[127.0.0.11][config=base]",
            "hop 2 (sc-B): expected B[127.0.0.12], got nothing",
        );
        check(
            &[&base_chain()],
            200,
            &format!("{BASE} -> D"),
            "hop 3 (sc-C): expected C[127.0.0.13], got C[127.0.0.13] -> D",
        );
        check(
            &[&base_chain()],
            500,
            BASE,
            "hop 1 (sc-A): expected status 200, got the right chain (status 500)",
        );
    }

    #[test]
    fn while_a_lane_is_switched_each_hop_may_be_either() {
        let (base, gray) = (base_chain(), gray_chain());
        let both: [&[Hop]; 2] = [&base, &gray];
        for body in [BASE, GRAY, "Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> C[127.0.0.13]"]
        {
            check(&both, 200, body, "right");
        }
        check(
            &both,
            200,
            "Ablue[127.0.0.31] -> B[127.0.0.12] -> C[127.0.0.13]",
            "hop 1 (sc-A): expected A[127.0.0.11][config=base] or Agray[127.0.0.21][config=base], got Ablue[127.0.0.31]",
        );
    }
}
