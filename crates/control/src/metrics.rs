//! What the control plane measures of itself, for the admin address.

use std::{sync::Arc, time::Instant};

use telemetry::{
    Samples,
    names::{self, label},
};

use crate::Control;

impl Control {
    /// Adds the control plane's own samples.
    pub fn measure(&self, samples: &mut Samples) {
        let is_writable = self.ledger().view().unwritable().is_none();
        samples.add(names::STORE_WRITABLE, &[], f64::from(u8::from(is_writable)));
        let hub = self.hub();
        let picture = hub.picture();
        let present = picture.services.present();
        samples.add(names::DATA_PLANES, &[], hub.connected() as f64);
        samples.add(names::REFUSING_DATA_PLANES, &[], hub.refusers() as f64);
        samples.add(names::SERVICES, &[], present.services as f64);
        samples.add(names::ENDPOINTS, &[], present.instances as f64);
        samples.add(names::RESOURCE_FILES_KEPT, &[], self.files.lock().len() as f64);
        samples.add(names::STORE_DOUBTED_BY, &[], hub.doubted_by() as f64);
        picture.sources().measure(samples, Instant::now());
        for (source, _) in picture.sources().iter() {
            let present = picture.services.present_in(&source.to_lowercase());
            let labels = [(label::SOURCE, source)];
            samples.add(names::SOURCE_SERVICES, &labels, present.services as f64);
            samples.add(names::SOURCE_INSTANCES, &labels, present.instances as f64);
        }
        picture.certificates.measure(samples);
        let groups: Vec<Arc<str>> = picture.groups.names().cloned().collect();
        drop(hub);
        let (watchers, missed) = self.taps().counted();
        samples.add(names::TAP_WATCHERS, &[], watchers as f64);
        samples.add(names::TAPPED, &[(label::RESULT, "missed")], missed as f64);
        // Group by group, so that a scrape does not keep data planes waiting.
        for group in &groups {
            for (application, tag, count) in self.hub().instances_in_lanes(group) {
                let labels = [
                    (label::APPLICATION, application.as_str()),
                    (label::LANE_GROUP, &**group),
                    (label::LANE, tag.as_str()),
                ];
                samples.add(names::LANE_ENDPOINTS, &labels, count as f64);
            }
        }
    }
}
