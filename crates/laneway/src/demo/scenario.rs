//! Who runs where, with which arguments, and how the chains look when everything is right.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

/// Where the demo's gateway listens.
pub(crate) const GATEWAY: SocketAddr = loopback(1, 8000);
/// Where the demo's gateway listens for HTTPS, if it does.
pub(crate) const HTTPS: SocketAddr = loopback(1, 8443);
/// Where the demo's API listens.
pub(crate) const API: SocketAddr = loopback(1, 7600);
/// Where the demo's discovery listens.
pub(crate) const DISCOVERY: SocketAddr = loopback(1, 7601);

/// Ports that every instance has on its own address.
const APPLICATION_PORT: u16 = 18_080;
const OUTBOUND_PORT: u16 = 15_001;
const INBOUND_PORT: u16 = 15_006;
const ADMIN_PORT: u16 = 15_020;

/// How long a process of the demo may take to finish what it has. Nobody waits for a demo.
const DRAIN_SECONDS: &str = "1";

/// The name of the process that is control plane and gateway.
pub(crate) const CONTROL_PLANE: &str = "serve";

/// The header that the lane `trade/gray` asks for.
pub(crate) const GRAY_HEADER: (&str, &str) = ("canary", "gray");

/// The header by which the lane `rollout/gray` is sticky.
pub(crate) const STICKY_HEADER: &str = "x-user";

/// The share of `/ratio/a` that the lane `rollout/gray` takes.
pub(crate) const RATIO_PERCENT: usize = 30;

/// What is applied: the files in `samples/`, in one copy.
const RESOURCES: [(&str, &str); 3] = [
    ("routes.yaml", include_str!("../../../../samples/routes.yaml")),
    ("trade.yaml", include_str!("../../../../samples/trade.yaml")),
    ("rollout.yaml", include_str!("../../../../samples/rollout.yaml")),
];

/// What is applied beside it where HTTPS is served too.
const HTTPS_RESOURCES: (&str, &str) =
    ("https.yaml", include_str!("../../../../samples/demo/https.yaml"));

/// What is applied, by the names of files.
pub(crate) fn resources(with_https: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    RESOURCES.into_iter().chain(with_https.then_some(HTTPS_RESOURCES))
}

/// One instance: an application and the sidecar beside it.
#[derive(Debug)]
pub(crate) struct Instance {
    /// What the application calls itself.
    pub(crate) name: &'static str,
    /// Its version; empty is base.
    pub(crate) tag: &'static str,
    /// The application's name in lane groups.
    pub(crate) application: &'static str,
    /// The service callers name.
    pub(crate) service: &'static str,
    /// The last part of its address, 127.0.0.N.
    host: u8,
    /// Whom it calls.
    next: Option<&'static str>,
}

/// Everything that runs besides control plane and gateway.
pub(crate) const INSTANCES: [Instance; 5] = [
    instance(0, "", 11),
    instance(1, "", 12),
    instance(2, "", 13),
    instance(0, "gray", 21),
    instance(2, "gray", 23),
];

const fn instance(position: usize, tag: &'static str, host: u8) -> Instance {
    let (name, application, service, next) = [
        ("A", "spring-cloud-a", "sc-A", Some("http://sc-B/b")),
        ("B", "spring-cloud-b", "sc-B", Some("http://sc-C/c")),
        ("C", "spring-cloud-c", "sc-C", None),
    ][position];
    Instance { name, tag, application, service, host, next }
}

const fn loopback(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), port)
}

/// The chain of a request that is in no lane.
pub(crate) fn base_chain() -> Vec<Hop> {
    [0, 1, 2].map(|index| INSTANCES[index].hop()).into()
}

/// The chain of a request in a lane `gray`: B has no gray instance and is served by base.
pub(crate) fn gray_chain() -> Vec<Hop> {
    gray_chain_without(None)
}

/// The same while a gray instance does not run: its hop is served by base.
pub(crate) fn gray_chain_without(killed: Option<&str>) -> Vec<Hop> {
    let [in_lane, in_base] = [[3, 1, 4], [0, 1, 2]];
    let hop = |(gray, base): (usize, usize)| {
        let runs = killed != Some(INSTANCES[gray].label().as_str()) || gray == base;
        INSTANCES[if runs { gray } else { base }].hop()
    };
    in_lane.into_iter().zip(in_base).map(hop).collect()
}

/// Who should serve one hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hop {
    /// The service that was called.
    pub(crate) service: &'static str,
    /// What the right instance answers of itself.
    pub(crate) answer: String,
}

impl Instance {
    /// `A`, `A-gray`.
    pub(crate) fn label(&self) -> String {
        if self.tag.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}-{}", self.name, self.tag)
        }
    }

    /// The application's process, in log file names and messages.
    pub(crate) fn application_process(&self) -> String {
        format!("application-{}", self.label())
    }

    /// The sidecar's process.
    pub(crate) fn sidecar_process(&self) -> String {
        format!("sidecar-{}", self.label())
    }

    /// Where the application listens.
    pub(crate) fn address(&self) -> SocketAddr {
        loopback(self.host, APPLICATION_PORT)
    }

    /// Where the sidecar answers for health and metrics.
    pub(crate) fn admin(&self) -> SocketAddr {
        loopback(self.host, ADMIN_PORT)
    }

    /// Every address it needs, with what for.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (String, SocketAddr)> {
        let label = self.label();
        [
            ("application", APPLICATION_PORT),
            ("outbound", OUTBOUND_PORT),
            ("inbound", INBOUND_PORT),
            ("admin", ADMIN_PORT),
        ]
        .into_iter()
        .map(move |(what, port)| (format!("{label} {what}"), loopback(self.host, port)))
    }

    fn hop(&self) -> Hop {
        let config = self.config().map(|config| format!("[config={config}]")).unwrap_or_default();
        let answer = format!("{}{}[{}]{config}", self.name, self.tag, self.address().ip());
        Hop { service: self.service, answer }
    }

    /// The first application of the chain shows its configuration.
    fn config(&self) -> Option<&'static str> {
        (self.name == "A").then_some("base")
    }

    /// How the application is started.
    pub(crate) fn application_arguments(&self) -> Vec<String> {
        let mut arguments = words(&["sample-application", "--name", self.name]);
        arguments.extend(["--listen".to_owned(), self.address().to_string()]);
        if !self.tag.is_empty() {
            arguments.extend(words(&["--tag", self.tag]));
        }
        if let Some(config) = self.config() {
            arguments.extend(words(&["--app-config", config]));
        }
        if let Some(next) = self.next {
            let proxy = loopback(self.host, OUTBOUND_PORT).to_string();
            arguments.extend(words(&["--next", next, "--proxy", &proxy]));
        }
        arguments
    }

    /// How its sidecar is started.
    pub(crate) fn sidecar_arguments(&self, data: &Path) -> Vec<String> {
        let at = |port| loopback(self.host, port).to_string();
        let mut arguments =
            words(&["sidecar", "--application", self.application, "--service", self.service]);
        for (flag, value) in [
            ("--app-address", at(APPLICATION_PORT)),
            ("--advertise", at(INBOUND_PORT)),
            ("--outbound-listen", at(OUTBOUND_PORT)),
            ("--inbound-listen", at(INBOUND_PORT)),
            ("--admin-listen", at(ADMIN_PORT)),
            ("--control", DISCOVERY.to_string()),
            ("--data", data.display().to_string()),
            ("--drain-seconds", DRAIN_SECONDS.to_owned()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        if !self.tag.is_empty() {
            arguments.extend(words(&["--tag", self.tag]));
        }
        arguments
    }
}

/// How control plane and gateway are started.
pub(crate) fn serve_arguments(data: &Path) -> Vec<String> {
    let mut arguments =
        words(&["serve", "--lame-duck-seconds", "0", "--drain-seconds", DRAIN_SECONDS]);
    for (flag, value) in [
        ("--gateway-listen", GATEWAY.to_string()),
        ("--api-listen", API.to_string()),
        ("--discovery-listen", DISCOVERY.to_string()),
        ("--data", data.display().to_string()),
    ] {
        arguments.extend([flag.to_owned(), value]);
    }
    arguments
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use api::{read, resource::Set, validate};

    use super::*;

    #[test]
    fn the_samples_are_resources_without_mistakes() {
        let set = Set::new(resources(true).flat_map(|(name, text)| {
            let (found, errors) = read::text(name, text);
            assert_eq!(errors, []);
            found.into_iter().map(|found| found.object)
        }));
        let errors: Vec<_> = validate::validate(&set)
            .into_iter()
            .filter(|finding| finding.severity != validate::Severity::Warning)
            .collect();
        assert_eq!(errors, []);
        let ratios: Vec<_> =
            set.lanes().filter_map(|lane| lane.spec.entry.ratio.as_ref()).collect();
        assert_eq!(ratios.len(), 1);
        assert_eq!(ratios[0].percent, RATIO_PERCENT as f64);
    }

    #[test]
    fn no_two_processes_share_an_address() {
        let mut addresses: Vec<_> =
            INSTANCES.iter().flat_map(Instance::addresses).map(|(_, address)| address).collect();
        addresses.extend([GATEWAY, HTTPS, API, DISCOVERY]);
        let count = addresses.len();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), count);
    }

    #[test]
    fn the_chains_are_those_of_the_documentation() {
        let text = |chain: Vec<Hop>| {
            chain.into_iter().map(|hop| hop.answer).collect::<Vec<_>>().join(" -> ")
        };
        assert_eq!(
            text(base_chain()),
            "A[127.0.0.11][config=base] -> B[127.0.0.12] -> C[127.0.0.13]"
        );
        assert_eq!(
            text(gray_chain()),
            "Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> Cgray[127.0.0.23]"
        );
        assert_eq!(
            text(gray_chain_without(Some("C-gray"))),
            "Agray[127.0.0.21][config=base] -> B[127.0.0.12] -> C[127.0.0.13]"
        );
        assert_eq!(text(gray_chain_without(Some("B"))), text(gray_chain()));
    }
}
