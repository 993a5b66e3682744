//! A public collection of requests that servers understand differently (tests/cases/http_desync_guardian), each through
//! a gateway to an instance that reads by the letter: what a gateway lets through, both count alike.

use std::{fs, path::Path, time::Duration};

use serde::Deserialize;

use crate::{
    origin::{ANSWERS, Heard, Origin},
    world::{Proxy, Wire, World, status},
};

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    uri: String,
    method: String,
    version: String,
    /// Some say that there are none.
    #[serde(default)]
    headers: Option<Vec<Header>>,
    expected: Expected,
}

#[derive(Debug, Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Debug, Deserialize)]
struct Expected {
    tier: Tier,
    reason: String,
}

/// What the collection makes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Tier {
    /// By the letter.
    Compliant,
    /// Not, and harmless.
    Acceptable,
    /// To be refused, or sent on in a form about which nobody disagrees.
    Ambiguous,
    /// To be refused.
    Severe,
}

/// What comes behind every head: the end of a body in chunks, and a request that is only one if the body ended there.
const BEHIND: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: shop\r\n\r\n";

/// Compliant by the collection and refused here all the same.
fn is_refused_all_the_same(case: &Case) -> bool {
    let codings = case.headers().filter(|it| it.name.eq_ignore_ascii_case("transfer-encoding"));
    let codings: Vec<_> = codings.map(|it| it.value.trim()).collect();
    // Codings that nobody uses are where servers differ. A first line has a target, and that has no fragment.
    case.uri.is_empty()
        || case.uri.contains('#')
        || codings.iter().any(|it| !it.eq_ignore_ascii_case("chunked"))
        || codings.len() > 1
}

impl Case {
    fn headers(&self) -> impl Iterator<Item = &Header> {
        self.headers.iter().flatten()
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { method, uri, version, .. } = self;
        let space = if version.is_empty() { "" } else { " " };
        let mut text = format!("{method} {uri}{space}{version}\r\n");
        if !self.headers().any(|header| header.name.eq_ignore_ascii_case("host")) {
            text += "Host: shop\r\n";
        }
        for Header { name, value } in self.headers() {
            text += &format!("{name}: {value}\r\n");
        }
        (text + "\r\n" + BEHIND).into_bytes()
    }

    async fn check(&self) {
        let origin = Origin::start().await;
        let proxy = Proxy::gateway(&World::new(&[origin.address]));
        let mut client = Wire::connect(proxy.address()).await;
        client.send_bytes(&self.bytes()).await;
        client.close_write().await;
        let said = String::from_utf8_lossy(&client.rest().await).into_owned();
        proxy.running.drain(Duration::from_secs(5)).await;
        let heard = origin.heard().await;
        let shown = format!("{self:?}\nheard: {heard:?}\nsaid: {said}");
        let requests: Vec<&str> = heard
            .iter()
            .filter_map(|heard| match heard {
                Heard::Request { line, .. } => Some(line.as_str()),
                Heard::Unfinished { .. } => None,
                Heard::Nonsense(_) => panic!("an instance must guess: {shown}"),
            })
            .collect();
        // Both sides count the same requests, in one order.
        let answered: Vec<&str> =
            said.lines().filter_map(|line| line.strip_prefix(ANSWERS)).collect();
        assert_eq!(answered, requests, "{shown}");
        match self.expected.tier {
            Tier::Severe => {
                assert!(heard.is_empty(), "{shown}");
                assert!((400..=599).contains(&status(&said)), "{shown}");
            }
            Tier::Compliant if is_refused_all_the_same(self) => {
                assert!(heard.is_empty(), "{shown}")
            }
            Tier::Compliant => assert!(!heard.is_empty(), "{shown}"),
            Tier::Acceptable | Tier::Ambiguous => {}
        }
    }
}

#[tokio::test]
async fn what_servers_understand_differently_is_refused_or_made_clear() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/http_desync_guardian");
    let mut count = 0;
    for entry in fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let cases: Vec<Case> = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in &cases {
            assert!(!case.expected.reason.is_empty(), "{}", case.name);
            case.check().await;
        }
        count += cases.len();
    }
    assert_eq!(count, 159, "the whole collection");
}
