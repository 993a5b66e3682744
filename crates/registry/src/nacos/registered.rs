//! One registration as Nacos tells it, with what of it means something.

use std::net::{IpAddr, SocketAddr};

use lanes::{Problem, Tag, service::Health};

use crate::{embedded::why_unreachable, tag_in};

/// Nacos's weights have decimals, and ours have none: how many of ours are one of theirs, where one of a service's has
/// decimals.
const WEIGHT_SCALE: f64 = 100.0;

/// Largest weight: the largest of theirs, so scaled.
const WEIGHT_MAX: f64 = 1_000_000.0;

/// One registration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Registered {
    pub(super) address: SocketAddr,
    pub(super) said: Said,
    /// The application that it names.
    pub(super) application: Option<String>,
    pub(super) weight: f64,
    pub(super) health: Health,
    /// The application that it is of to Dubbo, where Dubbo has registered it; empty is the service's name.
    pub(super) dubbo: Option<String>,
    /// Why nobody can call it, though what it says of its address counts.
    pub(super) uncalled: Option<Problem>,
}

/// What a registration says of its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing: another registration of its address may.
    Nothing,
    /// This one; none is the base, in so many words.
    Tag(Option<Tag>),
    /// Something that is no tag.
    Invalid(Problem),
}

impl Registered {
    /// Reads a registration; what nobody can call is told and left out.
    pub(super) fn read(instance: &::nacos::Instance) -> Result<Self, Problem> {
        let metadata = |key: &str| {
            instance.metadata.as_ref().and_then(|metadata| metadata.get(key)?.as_deref())
        };
        let bare = instance.ip.trim().trim_start_matches('[').trim_end_matches(']');
        let ip: IpAddr = bare.parse().map_err(|_| {
            let remedy = "register an IP address: host names are not looked up";
            Problem::new("ip", &instance.ip, remedy)
        })?;
        let port = u16::try_from(instance.port).unwrap_or_default();
        let address = SocketAddr::new(ip.to_canonical(), port);
        let unreachable = |why: &str| Problem::new("ip", format!("{bare}:{}", instance.port), why);
        if let Some(why) = why_unreachable(SocketAddr::new(ip, port.max(1))) {
            return Err(unreachable(why));
        }
        let uncalled = why_unreachable(address).map(unreachable);
        let said = match tag_in(metadata) {
            Ok(None) => Said::Nothing,
            Ok(Some(tag)) => Said::Tag(tag),
            Err(problem) => Said::Invalid(problem),
        };
        let application = Some(crate::application_of(metadata, "", "")).filter(|it| !it.is_empty());
        let health = match (instance.enabled, instance.healthy) {
            // Taken offline by an operator: it finishes what it has.
            (false, _) => Health::Draining,
            (true, false) => Health::Unhealthy,
            (true, true) => Health::Usable,
        };
        let weight = if instance.weight.is_finite() { instance.weight.max(0.0) } else { 0.0 };
        let application = application.map(str::to_owned);
        // By interface a registration names its application; by application it is registered under that name.
        let by_interface =
            metadata("application").filter(|_| metadata("side").is_some_and(|it| it == "provider"));
        let by_application = metadata("dubbo.metadata.revision").map(|_| "");
        let dubbo = by_interface.or(by_application).map(str::to_owned);
        Ok(Self { address, said, application, weight, health, dubbo, uncalled })
    }

    /// Takes what another registration of the same address says and this one does not.
    pub(super) fn join(&mut self, other: &Self) {
        match (&self.said, &other.said) {
            (_, Said::Nothing) => {}
            (Said::Nothing, said) => self.said = said.clone(),
            (own, said) if own == said => {}
            (own, said) => {
                let shown = format!("{}, {}", own.word(), said.word());
                let remedy = "registrations of this very address disagree: let them name one tag";
                self.said = Said::Invalid(Problem::new("tag", shown, remedy));
            }
        }
        if self.application.is_none() {
            self.application.clone_from(&other.application);
        }
    }
}

impl Said {
    /// As it is shown; nothing is not.
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Nothing => "",
            Self::Tag(None) => "base",
            Self::Tag(Some(tag)) => tag.as_str(),
            Self::Invalid(problem) => &problem.value,
        }
    }
}

/// Weights of one service's registrations, as whole numbers in the same proportions.
pub(super) fn weights<'r>(registered: impl Iterator<Item = &'r Registered> + Clone) -> Vec<u32> {
    let is_whole = registered.clone().all(|it| it.weight.fract() == 0.0);
    let scale = if is_whole { 1.0 } else { WEIGHT_SCALE };
    registered
        .map(|it| match (it.weight * scale).round().min(WEIGHT_MAX) as u32 {
            // Little is not nothing.
            0 if it.weight > 0.0 => 1,
            weight => weight,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn instance(ip: &str, port: u32, metadata: &[(&str, &str)]) -> ::nacos::Instance {
        let metadata: BTreeMap<_, _> = (metadata.iter())
            .map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned())))
            .collect();
        ::nacos::Instance {
            ip: ip.to_owned(),
            port,
            weight: 1.0,
            healthy: true,
            enabled: true,
            metadata: Some(metadata),
        }
    }

    #[test]
    fn a_registration_says_where_it_is_and_what() {
        let tagged = instance(
            "10.0.0.5",
            8080,
            &[("alicloud.service.tag", "gray"), ("laneway.io/application", "shop")],
        );
        let read = Registered::read(&tagged).unwrap();
        assert_eq!(read.address, "10.0.0.5:8080".parse().unwrap());
        assert_eq!(read.said, Said::Tag(Tag::parse("gray").unwrap()));
        assert_eq!(read.application.as_deref(), Some("shop"));
        let said = |metadata: &[(&str, &str)]| {
            Registered::read(&instance("[fd00::1]", 80, metadata)).unwrap().said
        };
        assert_eq!(said(&[]), Said::Nothing);
        assert_eq!(said(&[("laneway.io/tag", "base")]), Said::Tag(None));
        assert!(matches!(said(&[("laneway.io/tag", "no tag")]), Said::Invalid(_)));
    }

    #[test]
    fn what_nobody_can_call_is_left_out_and_told() {
        for (ip, port) in [
            ("shop.example", 80),
            ("", 80),
            ("0.0.0.0", 80),
            ("169.254.169.254", 80),
            ("224.0.0.1", 80),
        ] {
            let problem = Registered::read(&instance(ip, port, &[])).unwrap_err();
            assert_eq!(problem.field.as_str(), "ip", "{ip}:{port}");
        }
        for port in [0, 70_000] {
            let tag = [("laneway.io/tag", "gray")];
            let read = Registered::read(&instance("10.0.0.1", port, &tag)).unwrap();
            assert_eq!(read.uncalled.unwrap().value, format!("10.0.0.1:{port}"));
            assert_eq!(read.said, Said::Tag(Tag::parse("gray").unwrap()));
        }
    }

    #[test]
    fn the_operators_word_counts_before_the_servers() {
        let health = |enabled, healthy| {
            let instance = ::nacos::Instance { enabled, healthy, ..instance("10.0.0.1", 80, &[]) };
            Registered::read(&instance).unwrap().health
        };
        assert_eq!(health(true, true), Health::Usable);
        assert_eq!(health(true, false), Health::Unhealthy);
        assert_eq!(health(false, true), Health::Draining);
        assert_eq!(health(false, false), Health::Draining);
    }

    #[test]
    fn weights_keep_their_proportions() {
        let of = |weights_there: &[f64]| {
            let all: Vec<_> = (weights_there.iter())
                .map(|weight| ::nacos::Instance {
                    weight: *weight,
                    ..instance("10.0.0.1", 80, &[])
                })
                .map(|instance| Registered::read(&instance).unwrap())
                .collect();
            weights(all.iter())
        };
        assert_eq!(of(&[1.0, 3.0, 0.0]), [1, 3, 0]);
        assert_eq!(of(&[1.0, 0.5, 0.001, 0.0]), [100, 50, 1, 0]);
        assert_eq!(of(&[10_000.0, 0.5]), [1_000_000, 50]);
        assert_eq!(of(&[f64::NAN, -1.0]), [0, 0]);
    }
}
