//! Sources and backends.

use lanes::{Fault, Problem};

use super::Report;
use crate::resource::{Backend, EMBEDDED_SOURCE, NacosServers, ServiceSource, Set};

pub(super) fn check(set: &Set, report: &mut Report) {
    for source in set.service_sources() {
        check_source(source, set, report);
    }
    for backend in set.backends() {
        check_backend(backend, set, report);
    }
}

fn check_source(source: &ServiceSource, set: &Set, report: &mut Report) {
    let key = source.key();
    let older = set.service_sources().take_while(|other| other.key() != key);
    if let Some(older) = older.into_iter().find(|older| older.metadata.name == source.metadata.name)
    {
        let remedy = format!(
            "use another name: source names are unique across namespaces, and {} has it",
            older.key()
        );
        let problem = Problem::new("metadata.name", &source.metadata.name, remedy);
        report.conflict(&key, problem.of(Fault::NotUnique));
    }
    let joins = source.spec.nacos.iter().flat_map(|nacos| &nacos.joins);
    for (index, joined) in joins.enumerate() {
        check_joined(source, (index, joined), set, report);
    }
}

/// What a source is joined to says tags of its own: two that asked each other would hear their own words.
fn check_joined(
    source: &ServiceSource,
    (index, joined): (usize, &str),
    set: &Set,
    report: &mut Report,
) {
    if joined == EMBEDDED_SOURCE {
        return;
    }
    let field = format!("spec.nacos.joins[{index}]");
    let other = set.service_sources().find(|other| other.metadata.name == *joined);
    match other {
        None => {
            let remedy =
                format!("name a ServiceSource, or `embedded`: there is no ServiceSource {joined}");
            let problem = Problem::new(field, joined, remedy).of(Fault::NotFound);
            report.warning(&source.key(), problem);
        }
        Some(other) if other.spec.nacos.as_ref().is_some_and(|nacos| !nacos.joins.is_empty()) => {
            let remedy = "name a source that is joined to none itself";
            report.error(&source.key(), Problem::new(field, joined, remedy));
        }
        Some(_) => {}
    }
}

fn check_backend(backend: &Backend, set: &Set, report: &mut Report) {
    let key = backend.key();
    let spec = &backend.spec;
    if spec.source == EMBEDDED_SOURCE {
        return;
    }
    let Some(source) = set.service_sources().find(|source| source.metadata.name == spec.source)
    else {
        let remedy = format!(
            "name a ServiceSource, or `embedded`: there is no ServiceSource {}",
            spec.source
        );
        let problem = Problem::new("spec.source", &spec.source, remedy);
        report.warning(&key, problem.of(Fault::NotFound));
        return;
    };
    if let Some(nacos) = &source.spec.nacos {
        check_nacos_backend(backend, nacos, report);
    }
    let Some(fixed) = &source.spec.fixed else { return };
    if !fixed.services.iter().any(|service| service.name.eq_ignore_ascii_case(&spec.service)) {
        let names: Vec<_> = fixed.services.iter().map(|service| service.name.as_str()).collect();
        let remedy = format!("name a service of source {}: {}", spec.source, names.join(", "));
        let problem = Problem::new("spec.service", &spec.service, remedy);
        report.warning(&key, problem.of(Fault::NotFound));
    }
}

/// Services of Nacos are in its namespace and in one of its groups, and are named by both.
fn check_nacos_backend(backend: &Backend, nacos: &NacosServers, report: &mut Report) {
    let spec = &backend.spec;
    let is = |written: &Option<String>, one: &str| {
        written.as_deref().is_some_and(|written| written.eq_ignore_ascii_case(one))
    };
    if !is(&spec.namespace, nacos.namespace()) {
        let remedy = format!(
            "write namespace: {}: source {} takes its services from there",
            nacos.namespace(),
            spec.source
        );
        let value = spec.namespace.clone().unwrap_or_default();
        let problem = Problem::new("spec.namespace", value, remedy).of(Fault::NotFound);
        report.warning(&backend.key(), problem);
    }
    if !nacos.groups.iter().any(|group| is(&spec.group, group)) {
        let groups = nacos.groups.join(", ");
        let remedy = format!("write the service's group: source {} takes {groups}", spec.source);
        let value = spec.group.clone().unwrap_or_default();
        let problem = Problem::new("spec.group", value, remedy).of(Fault::NotFound);
        report.warning(&backend.key(), problem);
    }
}

/// The application behind a backend, as far as the set says: the service's name unless its source lists another.
pub(super) fn application<'s>(backend: &'s Backend, set: &'s Set) -> &'s str {
    let spec = &backend.spec;
    let source = set.service_sources().find(|source| source.metadata.name == spec.source);
    let services = source
        .and_then(|source| source.spec.fixed.as_ref())
        .into_iter()
        .flat_map(|fixed| &fixed.services);
    (services.into_iter())
        .find(|service| service.name.eq_ignore_ascii_case(&spec.service))
        .and_then(|service| service.application.as_deref())
        .unwrap_or(&spec.service)
}
