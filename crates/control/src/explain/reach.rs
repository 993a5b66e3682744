//! Whom those who call cannot connect to at the moment, as they reported themselves.

use std::{collections::HashMap, fmt, net::SocketAddr};

use api::discovery::v1::{Hello, Role};
use lanes::{Ejections, Explanation, explain::Step};

use crate::hub::Hub;

/// Data planes that are alike: the gateways of one name, the sidecars of one application with one tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Caller {
    is_gateway: bool,
    name: String,
    tag: String,
}

impl Caller {
    pub(super) fn gateway(name: &str) -> Self {
        Self { is_gateway: true, name: name.to_owned(), tag: String::new() }
    }

    pub(super) fn instance(application: &str, tag: &str) -> Self {
        Self { is_gateway: false, name: application.to_owned(), tag: tag.to_owned() }
    }

    fn of(hello: &Hello) -> Self {
        match hello.role() {
            Role::Gateway => Self::gateway(&hello.name),
            Role::Sidecar | Role::Agent | Role::Unspecified => {
                Self::instance(&hello.name, &hello.tag)
            }
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.tag.is_empty() { Ok(()) } else { write!(f, " ({})", self.tag) }
    }
}

/// What all connected data planes reported: by caller only where there is something.
#[derive(Debug, Default)]
pub(super) struct Reports(HashMap<Caller, Unreachable>);

/// What the data planes of one caller reported.
#[derive(Debug, Default)]
pub(super) struct Unreachable {
    /// How many cannot connect to an address.
    by_address: HashMap<SocketAddr, usize>,
    /// How many there are.
    connected: usize,
}

impl Reports {
    /// Those of this moment.
    pub(super) fn of(hub: &Hub) -> Self {
        let connected = || {
            let data_planes = hub.nodes().filter_map(|node| hub.data_plane(node));
            data_planes.filter(|data_plane| data_plane.is_connected())
        };
        let mut reports: HashMap<Caller, Unreachable> = HashMap::new();
        for data_plane in connected().filter(|data_plane| !data_plane.unreachable().is_empty()) {
            let of_caller = reports.entry(Caller::of(data_plane.hello())).or_default();
            for address in data_plane.unreachable().iter().filter_map(|text| text.parse().ok()) {
                *of_caller.by_address.entry(address).or_default() += 1;
            }
        }
        if !reports.is_empty() {
            for data_plane in connected() {
                if let Some(of_caller) = reports.get_mut(&Caller::of(data_plane.hello())) {
                    of_caller.connected += 1;
                }
            }
        }
        Self(reports)
    }

    /// What one caller's reported.
    pub(super) fn of_caller(&self, caller: &Caller) -> Option<&Unreachable> {
        self.0.get(caller)
    }
}

/// An address that none of them can connect to is passed over, as each of them does.
impl Ejections for Unreachable {
    fn is_ejected(&self, address: SocketAddr) -> bool {
        self.by_address.get(&address) == Some(&self.connected)
    }
}

impl Unreachable {
    /// Says of instances that some of them cannot connect to them.
    pub(super) fn tell(&self, caller: &Caller, told: &mut Explanation) {
        for step in &mut told.steps {
            let Step::Instance { address, because, .. } = step else { continue };
            let Ok(address) = address.parse::<SocketAddr>() else { continue };
            match self.by_address.get(&address) {
                None => {}
                Some(count) if *count == self.connected => {
                    because.push_str(&format!("; {caller} cannot reach it at the moment"));
                }
                Some(count) => because.push_str(&format!(
                    "; {count} of {} data planes of {caller} cannot reach it at the moment",
                    self.connected
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_data_plane_reaches_is_passed_over_and_said() {
        let [dead, half, well] = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let reach = Unreachable { by_address: [(dead, 2), (half, 1)].into(), connected: 2 };
        assert_eq!([dead, half, well].map(|it| reach.is_ejected(it)), [true, false, false]);
        let step = |address: SocketAddr| Step::Instance {
            address: address.to_string(),
            tag: None,
            candidate: true,
            because: "chosen".to_owned(),
        };
        let mut told = Explanation { steps: [dead, half, well].map(step).into() };
        reach.tell(&Caller::instance("app", "gray"), &mut told);
        let because = told.steps.iter().map(|step| match step {
            Step::Instance { because, .. } => because.as_str(),
            _ => "",
        });
        let expected = [
            "chosen; app (gray) cannot reach it at the moment",
            "chosen; 1 of 2 data planes of app (gray) cannot reach it at the moment",
            "chosen",
        ];
        assert_eq!(because.collect::<Vec<_>>(), expected);
        assert!(!Unreachable::default().is_ejected(dead));
    }
}
