//! What is wrong or doubtful with what a transaction writes, as instances and listeners are at the moment: what
//! `api::validate`, which sees objects alone, cannot know.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::SystemTime,
};

use api::{
    certificate::{self, Described},
    resource::{Certificate, Fallback, Key, Lane, LaneGroup, Object, ServiceSource, Set},
    validate::{Finding, Severity},
};
use lanes::{Fault, Problem, Tag, service::Health};
use parking_lot::Mutex;

use crate::{
    certificate_files,
    hub::Hub,
    key::canonical,
    objects::ObjectChange,
    picture::{self, Services},
};

/// Everything found, errors and warnings.
pub(crate) fn look_at(
    changes: &[ObjectChange],
    set: &Set,
    hub: &Mutex<Hub>,
    own_listener: impl Fn(SocketAddr) -> Option<String>,
) -> Vec<Finding> {
    // Read before the hub is held: a disk may be slow, and data planes are told nothing meanwhile.
    let files = files_read(changes);
    let hub = &*hub.lock();
    let services = &hub.picture().services;
    let mut findings = picture::introduced(changes, set, services);
    // Until every source has told everything, instances may be there that nobody knows yet.
    if hub.picture().sources().all_synced() {
        findings.extend(strict_lanes(changes, set, services));
    }
    for change in changes {
        let Some(stored) = &change.new else { continue };
        match &*stored.object {
            Object::ServiceSource(source) => {
                findings.extend(listed_listeners(source, hub, &own_listener));
            }
            Object::Certificate(certificate) => {
                let old = change.old.as_ref().map(|old| &*old.object);
                let read = files.get(&change.key);
                findings.extend(of_certificate(certificate, old, read, hub));
            }
            _ => {}
        }
    }
    findings
}

type Read = Result<routes::tls::Certificate, String>;

/// What is in the files of certificates that are written.
fn files_read(changes: &[ObjectChange]) -> HashMap<&Key, Read> {
    let read = changes.iter().filter_map(|change| match &*change.new.as_ref()?.object {
        Object::Certificate(certificate) => {
            Some((&change.key, certificate_files::read(certificate.spec.files.as_ref()?)))
        }
        _ => None,
    });
    read.collect()
}

/// What only who can open its private key, or read its files, sees of a certificate; and whether it is good now.
fn of_certificate(
    certificate: &Certificate,
    old: Option<&Object>,
    files: Option<&Read>,
    hub: &Hub,
) -> Option<Finding> {
    let spec = &certificate.spec;
    let tell = |problem, severity| Finding { object: certificate.key(), problem, severity };
    let (field, read) = if let Some(read) = files {
        ("spec.files", read.clone())
    } else if let Some(pem) = &spec.certificate {
        let key = match hub.picture().certificates.private_key(certificate)? {
            Ok(key) => key,
            // It was written with this certificate.
            Err(_) if is_certificate_of(old, pem) => return None,
            Err(error) => {
                let remedy = format!(
                    "write its private key too: whether the one that is there is its key cannot be seen now ({error})"
                );
                return Some(tell(Problem::new("spec.certificate", "", remedy), Severity::Error));
            }
        };
        ("spec.certificate", picture::pair(pem, key))
    } else {
        let pem = spec.ca_certificates.as_deref()?;
        let authorities = certificate::certificates(pem);
        let read = authorities
            .map(|authorities| routes::tls::Certificate { authorities, ..Default::default() });
        ("spec.caCertificates", read)
    };
    match read {
        Ok(read) => {
            let doubt = Described::of(&read).ok()?.doubt(field, SystemTime::now());
            doubt.map(|doubt| tell(doubt, Severity::Warning))
        }
        // They may be put there, or mended, later.
        Err(remedy) if spec.files.is_some() => {
            let problem =
                Problem::new(field, "", format!("{remedy}; they are read again when they change"));
            Some(tell(problem.of(Fault::NotFound), Severity::Warning))
        }
        Err(remedy) => Some(tell(Problem::new("spec.privateKey", "", remedy), Severity::Error)),
    }
}

/// Whether an object has this certificate already.
fn is_certificate_of(old: Option<&Object>, pem: &str) -> bool {
    let Some(Object::Certificate(old)) = old else { return false };
    old.spec.certificate.as_deref() == Some(pem)
}

/// Strict lanes, written or of groups that are, that some application has no instance in: its requests fail.
fn strict_lanes(changes: &[ObjectChange], set: &Set, services: &Services) -> Vec<Finding> {
    let mut lanes: BTreeMap<Key, &Lane> = BTreeMap::new();
    for change in changes {
        match set.get(&change.key) {
            Some(Object::Lane(lane)) => drop(lanes.insert(lane.key(), lane)),
            Some(Object::LaneGroup(group)) => {
                lanes.extend(set.lanes_of(group).map(|lane| (lane.key(), lane)));
            }
            _ => {}
        }
    }
    let is_strict = |lane: &&Lane| lane.spec.enabled && lane.spec.fallback == Fallback::None;
    let of_lane = |lane: &Lane| {
        let Some(Object::LaneGroup(group)) = set.get(&lane.group_key()) else { return None };
        let absent = without_instance(lane, group, set, services);
        let remedy = format!(
            "start instances of it, or name a fallback: its requests that come to {} are answered 503, as no usable instance there has the tag {}",
            absent.join(", "),
            lane.tag_text()
        );
        (!absent.is_empty()).then(|| Finding {
            object: lane.key(),
            problem: Problem::new("spec.fallback", "none", remedy).of(Fault::NotFound),
            severity: Severity::Warning,
        })
    };
    lanes.into_values().filter(is_strict).filter_map(of_lane).collect()
}

/// Applications of a lane's group without a usable instance in it, listed ones included.
fn without_instance<'g>(
    lane: &Lane,
    group: &'g LaneGroup,
    set: &Set,
    services: &Services,
) -> Vec<&'g str> {
    let Ok(Some(tag)) = Tag::parse(lane.tag_text()) else { return Vec::new() };
    let has_live = |application: &str| {
        let mut endpoints = services.of_application(application).flat_map(|it| it.endpoints());
        endpoints.any(|it| it.health == Health::Usable && it.tag.as_ref() == Some(&tag))
    };
    let is_listed = |application: &str| {
        let fixed = set.service_sources().filter_map(|source| source.spec.fixed.as_ref());
        let mut services = fixed.flat_map(|fixed| &fixed.services);
        services.any(|service| {
            let is_of = service.application.as_deref().unwrap_or(&service.name) == application;
            let mut tags = service.instances.iter().filter_map(|it| it.tag.as_deref());
            is_of && tags.any(|it| it == tag.as_str())
        })
    };
    let is_off = |application: &str| {
        let mut switches = lane.spec.applications.iter();
        switches.any(|switch| switch.name == application && !switch.enabled)
    };
    let applications = group.spec.applications.iter().map(String::as_str);
    applications.filter(|it| is_off(it) || !has_live(it) && !is_listed(it)).collect()
}

/// Instances of a list that are listeners of Laneway's own. A gateway may be called, though a request that comes back to
/// it goes no further.
fn listed_listeners(
    source: &ServiceSource,
    hub: &Hub,
    own_listener: impl Fn(SocketAddr) -> Option<String>,
) -> Vec<Finding> {
    let fixed = source.spec.fixed.iter().flat_map(|fixed| fixed.services.iter().enumerate());
    let all = fixed.flat_map(|(at, service)| {
        let instances = service.instances.iter().enumerate();
        instances.flat_map(move |(number, instance)| {
            instance.places().map(move |(field, written)| (at, number, field, written))
        })
    });
    let found = all.filter_map(|(at, number, field, written)| {
        let address = canonical(written)?;
        let (whose, severity) = match own_listener(address) {
            Some(whose) => (whose, Severity::Error),
            None if hub.is_gateway_at(address) => (hub.listener_at(address)?, Severity::Warning),
            None => (hub.listener_at(address)?, Severity::Error),
        };
        let field = format!("spec.static.services[{at}].instances[{number}].{field}");
        let remedy = format!("write an instance's address: this is {whose}");
        let problem = Problem::new(field, written, remedy);
        Some(Finding { object: source.key(), problem, severity })
    });
    found.collect()
}
