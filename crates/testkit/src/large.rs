//! The largest installation Laneway promises to serve, for tests of what a change costs in it; and a small one of the
//! same form, for every run.

use std::{ops::Range, time::Duration};

use serde_json::{Value, json};

/// Groups, all at one gateway: as many as one may serve.
pub const GROUPS: usize = 8;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub struct Large {
    /// Whether it is as large as promised.
    pub is_full: bool,
    /// Services, each with an application of its own, spread over the groups.
    pub services: usize,
    /// Instances of each service.
    pub instances: usize,
    /// Lanes of each group.
    pub lanes_per_group: usize,
    /// Data planes that all have the first group.
    pub data_planes: usize,
    /// How often a lane is toggled.
    pub toggles: usize,
}

impl Large {
    /// As large as promised where `LANEWAY_SCALE` is `full`: 1 000 services with 10 instances each, 1 000 lanes, 1 000
    /// data planes.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the size is chosen by whoever runs the test")]
    pub fn asked() -> Self {
        let is_full = std::env::var("LANEWAY_SCALE").is_ok_and(|scale| scale == "full");
        let pick = |small, large| if is_full { large } else { small };
        Self {
            is_full,
            services: pick(20, 1_000),
            instances: pick(2, 10),
            lanes_per_group: pick(3, 125),
            data_planes: pick(20, 1_000),
            toggles: pick(2, 20),
        }
    }

    /// The application of a service.
    #[must_use]
    pub fn application(&self, service: usize) -> String {
        format!("application-{}", service % self.services)
    }

    /// The ports of a service's instances.
    #[must_use]
    pub fn ports(&self, service: usize) -> Range<usize> {
        let first = 1 + service * self.instances;
        first..first + self.instances
    }

    /// Groups with their lanes, all enabled.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let mut objects = Vec::new();
        for group in 0..GROUPS {
            let services = (0..self.services).filter(|service| service % GROUPS == group);
            let applications: Vec<String> = services.map(|it| self.application(it)).collect();
            objects.push(json!({
                "apiVersion": "laneway.io/v1alpha1", "kind": "LaneGroup",
                "metadata": {"name": format!("group-{group}")},
                "spec": {"entrances": [{"gateway": "edge"}], "applications": applications},
            }));
            objects.extend((0..self.lanes_per_group).map(|index| lane(group, index, true)));
        }
        objects
    }

    /// Says a figure where people asked for figures, and fails where it is more than promised.
    #[allow(clippy::print_stderr, reason = "figures are for people")]
    pub fn judge(&self, what: &str, took: Duration, promised: Duration) {
        eprintln!("{what}: {took:?}, promised {promised:?}");
        assert!(!self.is_full || took <= promised, "{what} took {took:?}, more than {promised:?}");
    }
}

/// A lane of a group, with the tag `tag-INDEX`.
#[must_use]
pub fn lane(group: usize, index: usize, enabled: bool) -> Value {
    json!({
        "apiVersion": "laneway.io/v1alpha1", "kind": "Lane",
        "metadata": {"name": format!("lane-{group}-{index}")},
        "spec": {"group": format!("group-{group}"), "tag": format!("tag-{index}"), "enabled": enabled,
            "entry": {"content": {"conditions": [
                {"header": "canary", "operator": "in", "values": [format!("{group}-{index}"), "x", "y"]},
            ]}}},
    })
}
