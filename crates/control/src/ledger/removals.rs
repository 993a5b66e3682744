//! What an edit of a group takes away from its lanes: allowed, and told.

use api::{
    resource::{Entrance, Lane, LaneGroup, Object, Set},
    validate::{Finding, Severity},
};
use lanes::Problem;

use crate::objects::ObjectChange;

/// Names the lanes that an entrance or application removed from their group served.
pub(super) fn affected(change: &ObjectChange, after: &Set) -> Vec<Finding> {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return Vec::new() };
    let (Object::LaneGroup(old), Object::LaneGroup(new)) = (&*old.object, &*new.object) else {
        return Vec::new();
    };
    let lanes: Vec<String> =
        after.lanes_of(new).filter(|lane| lane.spec.enabled).map(Lane::lane_name).collect();
    if lanes.is_empty() {
        return Vec::new();
    }
    let lanes = lanes.join(", ");
    let warn = |field: &str, value: String, effect: &str| Finding {
        object: change.key.clone(),
        problem: Problem::new(
            field,
            value,
            format!("{effect} {lanes}: add it again if they need it"),
        ),
        severity: Severity::Warning,
    };
    let mut warnings = Vec::new();
    for gone in removed_entrances(old, new) {
        warnings.push(warn("spec.entrances", gone, "was removed; requests no longer enter there:"));
    }
    for gone in old.spec.applications.iter().filter(|name| !new.spec.applications.contains(name)) {
        let effect = "was removed; base alone serves it for requests of";
        warnings.push(warn("spec.applications", gone.clone(), effect));
    }
    warnings
}

fn removed_entrances(old: &LaneGroup, new: &LaneGroup) -> Vec<String> {
    let name = |entrance: &Entrance| match (&entrance.gateway, &entrance.application) {
        (Some(gateway), _) => format!("gateway {gateway}"),
        (None, Some(application)) => format!("application {application}"),
        (None, None) => String::new(),
    };
    let left: Vec<String> = new.spec.entrances.iter().map(name).collect();
    old.spec.entrances.iter().map(name).filter(|entrance| !left.contains(entrance)).collect()
}
