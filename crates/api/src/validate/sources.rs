//! Sources and backends.

use std::{collections::HashMap, net::SocketAddr};

use lanes::{Problem, Tag};

use super::Report;
use crate::resource::{Backend, EMBEDDED_SOURCE, ServiceSource, Set, StaticService};

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
    if source.metadata.name == EMBEDDED_SOURCE {
        let remedy =
            "use another name: `embedded` is the registry that instances register with themselves";
        report.error(&key, Problem::new("metadata.name", EMBEDDED_SOURCE, remedy));
    }
    let older = set.service_sources().take_while(|other| other.key() != key);
    if let Some(older) = older.into_iter().find(|older| older.metadata.name == source.metadata.name)
    {
        let remedy = format!(
            "use another name: source names are unique across namespaces, and {} has it",
            older.key()
        );
        report.conflict(&key, Problem::new("metadata.name", &source.metadata.name, remedy));
    }
    for (field, present) in [
        ("spec.nacos", source.spec.nacos.is_some()),
        ("spec.kubernetes", source.spec.kubernetes.is_some()),
    ] {
        if present {
            let remedy = "remove it: this source is not supported by this version; use static, or the source `embedded`";
            report.error(&key, Problem::new(field, "", remedy));
        }
    }
    let Some(fixed) = &source.spec.fixed else {
        if source.spec.nacos.is_none() && source.spec.kubernetes.is_none() {
            report.error(&key, Problem::new("spec", "", "write static: {services: […]}"));
        }
        return;
    };
    let mut names: HashMap<String, usize> = HashMap::new();
    for (index, service) in fixed.services.iter().enumerate() {
        let at = format!("spec.static.services[{index}]");
        if service.name.is_empty() || service.name.contains('/') {
            let remedy = "use a name without `/`";
            report.error(&key, Problem::new(format!("{at}.name"), &service.name, remedy));
        }
        if let Some(first) = names.insert(service.name.to_lowercase(), index) {
            let remedy =
                format!("use another name: services[{first}] has it (case does not matter)");
            report.error(&key, Problem::new(format!("{at}.name"), &service.name, remedy));
        }
        report.errors(&key, instances(service).into_iter().map(|problem| problem.under(&at)));
    }
}

fn instances(service: &StaticService) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, instance) in service.instances.iter().enumerate() {
        let at = format!("instances[{index}]");
        if instance.address.parse::<SocketAddr>().is_err() {
            let remedy = "use IP:PORT, e.g. 10.0.0.5:8080 or [2001:db8::5]:8080";
            problems.push(Problem::new(format!("{at}.address"), &instance.address, remedy));
        }
        if service.instances[..index].iter().any(|earlier| earlier.address == instance.address) {
            problems.push(Problem::new(
                format!("{at}.address"),
                &instance.address,
                "list each address once",
            ));
        }
        if let Some(Err(problem)) = instance.tag.as_deref().map(Tag::parse) {
            problems.push(problem.under(&format!("{at}.tag")));
        }
    }
    problems
}

fn check_backend(backend: &Backend, set: &Set, report: &mut Report) {
    let key = backend.key();
    let spec = &backend.spec;
    if spec.protocol != "http" {
        let remedy = "use http: other protocols are not supported by this version";
        report.error(&key, Problem::new("spec.protocol", &spec.protocol, remedy));
    }
    if spec.service.is_empty() || spec.service.contains('/') {
        report.error(
            &key,
            Problem::new("spec.service", &spec.service, "use a service's name, without `/`"),
        );
    }
    if spec.source == EMBEDDED_SOURCE {
        return;
    }
    let Some(source) = set.service_sources().find(|source| source.metadata.name == spec.source)
    else {
        let remedy = format!(
            "name a ServiceSource, or `embedded`: there is no ServiceSource {}",
            spec.source
        );
        report.warning(&key, Problem::new("spec.source", &spec.source, remedy));
        return;
    };
    let Some(fixed) = &source.spec.fixed else { return };
    if !fixed.services.iter().any(|service| service.name.eq_ignore_ascii_case(&spec.service)) {
        let names: Vec<_> = fixed.services.iter().map(|service| service.name.as_str()).collect();
        let remedy = format!("name a service of source {}: {}", spec.source, names.join(", "));
        report.warning(&key, Problem::new("spec.service", &spec.service, remedy));
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
