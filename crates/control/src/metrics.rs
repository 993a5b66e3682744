//! What the control plane measures of itself, for the admin address.

use std::time::Instant;

use telemetry::{
    Samples,
    names::{self, label},
};

use crate::Control;

impl Control {
    /// Adds the control plane's own samples.
    pub fn measure(&self, samples: &mut Samples) {
        let hub = self.hub();
        let picture = hub.picture();
        let connected = hub.data_planes().filter(|data_plane| data_plane.is_connected()).count();
        let present =
            picture.services.all().filter(|service| picture.services.is_present(service.id()));
        let sizes: Vec<usize> = present.map(|service| service.endpoints().len()).collect();
        samples.add(names::DATA_PLANES, &[], connected as f64);
        samples.add(names::SERVICES, &[], sizes.len() as f64);
        samples.add(names::ENDPOINTS, &[], sizes.iter().sum::<usize>() as f64);
        picture.sources().measure(samples, Instant::now());
        let groups: Vec<String> =
            hub.picture().groups.all().map(|group| group.name.as_str().to_owned()).collect();
        drop(hub);
        // Group by group, so that a scrape does not keep data planes waiting.
        for group in &groups {
            for (application, tag, count) in self.hub().instances_in_lanes(group) {
                let labels = [
                    (label::APPLICATION, application.as_str()),
                    (label::LANE_GROUP, group.as_str()),
                    (label::LANE, tag.as_str()),
                ];
                samples.add(names::LANE_ENDPOINTS, &labels, count as f64);
            }
        }
    }
}
