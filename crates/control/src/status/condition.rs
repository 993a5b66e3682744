//! What statuses are made of: conditions, and how far something has got.

use api::resource::{DISCONNECTED, Live, StatusCondition};

use super::Sight;
use crate::{distribute, key::ResourceKey, picture::small};

/// Whether every data plane that needs a resource has it.
pub(super) fn ready(
    resource: &ResourceKey,
    live: distribute::Live,
    sight: Sight<'_>,
) -> StatusCondition {
    if let Some((count, node, reason)) = sight.distribution.refused(resource) {
        let more = match count {
            1 => String::new(),
            several => format!(" (and {} more)", several - 1),
        };
        let message = format!("data plane {node}{more} does not take it: {reason}");
        return condition("Ready", false, "Refused", message);
    }
    let waiting = live.connected - live.acknowledged;
    if waiting > 0 {
        let message = format!("{waiting} of {} data planes have not confirmed it", live.connected);
        return condition("Ready", false, "Distributing", message);
    }
    let disconnected = live.data_planes - live.connected;
    if disconnected > 0 {
        let message = format!(
            "{disconnected} of {} data planes that need it are disconnected; all others have it",
            live.data_planes
        );
        return condition("Ready", false, DISCONNECTED, message);
    }
    let message = match live.data_planes {
        0 => "no data plane needs it",
        _ => "every data plane that needs it has it",
    };
    condition("Ready", true, "Live", message.to_owned())
}

/// The same in figures.
pub(super) fn shown(live: distribute::Live, generation: u64) -> Live {
    Live {
        data_planes: small(live.data_planes),
        acknowledged: small(live.acknowledged),
        disconnected: small(live.data_planes - live.connected),
        generation,
        observed_generation: 0,
    }
}

/// A condition of no object's generation yet.
pub(super) fn condition(kind: &str, holds: bool, reason: &str, message: String) -> StatusCondition {
    StatusCondition {
        kind: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: 0,
        last_transition_time: None,
    }
}
