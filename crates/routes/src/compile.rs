//! Turns gateways and routes as written into a [`Table`], and collects every mistake on the way.
//!
//! A host name or match that is wrong is left out. A rule all of whose matches are wrong is left out too: it
//! must not become one that matches everything. A rule whose filters are wrong stays in its place and answers
//! 500, since its requests must be served neither unfiltered nor by the next rule.

use std::{collections::HashSet, fmt, sync::Arc};

use lanes::{Fault, Problem, is_token};

use crate::{
    filter::{Filters, compile_filters},
    host::{HostMap, HostPattern, compile_hostnames},
    overlaps::among,
    path::{PathIndex, PathMatcher, check_path},
    precedence::{Candidate, Conditions, Named},
    spec::{
        BackendSpec, GatewaySpec, HeaderEdits, MatchSpec, NamedSpec, ParentSpec, PathSpec,
        RouteSpec, RuleSpec,
    },
    table::{Backend, Inner, Listener, Rule, Table},
    text::{TextMatcher, whole_value_regex},
};

/// The largest weight of one backend: the Gateway API's own limit, far from overflow in sums.
const WEIGHT_MAX: u32 = 1_000_000;

/// Methods a match may name, as the Gateway API lists them.
const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

impl Table {
    /// Compiles the routes that attach to `gateway`. What is wrong is left out and told, each problem with
    /// the `namespace/name` of its route; the rest works.
    pub fn compile(
        gateway: Option<&GatewaySpec>,
        routes: &[RouteSpec],
    ) -> (Self, Vec<RouteProblem>) {
        let Some(gateway) = gateway else { return (Self::default(), Vec::new()) };
        let mut compiler = Compiler::new(gateway);
        let mut by_age: Vec<&RouteSpec> = routes.iter().collect();
        by_age.sort_by_cached_key(|route| route.age());
        let overlaps = among(gateway, &by_age);
        compiler.barred = overlaps.iter().map(|it| (it.route.key(), it.listener)).collect();
        for (order, route) in by_age.into_iter().enumerate() {
            compiler.add_route(route, u32::try_from(order).unwrap_or(u32::MAX));
        }
        compiler.finish()
    }
}

struct Compiler<'g> {
    gateway: &'g GatewaySpec,
    patterns: Vec<Option<HostPattern>>,
    paths: Vec<HostMap<PathIndex>>,
    rules: Vec<Rule>,
    /// Which routes do not attach where, for the sake of older ones: told by [`crate::overlaps`].
    barred: HashSet<(String, usize)>,
    problems: Vec<RouteProblem>,
}

/// What is wrong with a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteProblem {
    /// What the route is known by.
    pub route: String,
    /// The parent it is about, by its place in [`RouteSpec::parents`].
    pub parent: Option<usize>,
    /// What, with the path in the parent, or in the route.
    pub problem: Problem,
}

impl fmt::Display for RouteProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "spec.parentRefs[{parent}].")?;
        }
        write!(f, "{}", self.problem)
    }
}

impl<'g> Compiler<'g> {
    fn new(gateway: &'g GatewaySpec) -> Self {
        // A host name that cannot be read matches nothing.
        let patterns = gateway.listeners.iter();
        let patterns: Vec<_> =
            patterns.map(|it| HostPattern::of_listener(it.hostname.as_deref()).ok()).collect();
        let paths = patterns.iter().map(|_| HostMap::default()).collect();
        let (rules, barred, problems) = (Vec::new(), HashSet::new(), Vec::new());
        Self { gateway, patterns, paths, rules, barred, problems }
    }

    fn add_route(&mut self, route: &RouteSpec, route_order: u32) {
        let mut problems = Vec::new();
        let parents: Vec<_> = (route.parents.iter().enumerate())
            .filter(|(_, parent)| parent.gateway == self.gateway.name)
            .collect();
        if parents.is_empty() {
            return;
        }
        let hostnames = compile_hostnames(&route.hostnames, &mut problems);
        let key = route.key();
        let attached = self.attach(&parents, &hostnames, route);
        for (rule_index, rule) in route.rules.iter().enumerate() {
            let mut rule_problems = Vec::new();
            let matches = compile_matches(&rule.matches, &mut rule_problems);
            let compiled = compile_rule(route, rule_index, rule, &mut rule_problems);
            let at = format!("spec.rules[{rule_index}]");
            problems.extend(rule_problems.into_iter().map(|problem| problem.under(&at)));
            let Ok(table_index) = u32::try_from(self.rules.len()) else { break };
            self.rules.push(compiled);
            for (listener, patterns) in &attached {
                for pattern in patterns {
                    let index = self.paths[*listener].entry(pattern);
                    for (match_index, path, conditions) in &matches {
                        index.insert(
                            path,
                            Candidate {
                                rule: table_index,
                                conditions: Arc::clone(conditions),
                                route_order,
                                match_order: (rule_index as u32, *match_index as u32),
                            },
                        );
                    }
                }
            }
        }
        self.problems.extend(problems.into_iter().map(|problem| RouteProblem {
            route: key.clone(),
            parent: None,
            problem,
        }));
    }

    /// The listeners a route attaches to, and under which of its host names.
    fn attach<'h>(
        &mut self,
        parents: &[(usize, &ParentSpec)],
        hostnames: &'h [HostPattern],
        route: &RouteSpec,
    ) -> Vec<(usize, Vec<&'h HostPattern>)> {
        let mut attached: Vec<(usize, Vec<&HostPattern>)> = Vec::new();
        for (parent_index, parent) in parents {
            let named: Vec<usize> = (self.gateway.listeners.iter().enumerate())
                .filter(|(_, listener)| parent.names(listener) && listener.carries(route.kind))
                .map(|(index, _)| index)
                .collect();
            if named.is_empty() {
                let (part, value) = match (&parent.section, parent.port) {
                    (Some(section), _) => ("sectionName", section.clone()),
                    (None, Some(port)) => ("port", port.to_string()),
                    (None, None) => ("", parent.gateway.clone()),
                };
                let listeners: Vec<_> = (self.gateway.listeners.iter())
                    .map(|listener| format!("{} (port {})", listener.name, listener.port))
                    .collect();
                let remedy =
                    format!("name a listener of {}: {}", self.gateway.name, listeners.join(", "));
                self.problems.push(RouteProblem {
                    route: route.key(),
                    parent: Some(*parent_index),
                    problem: Problem::new(part, value, remedy).of(Fault::NotAttached),
                });
                continue;
            }
            let mut met = false;
            for listener in named {
                let Some(of_listener) = &self.patterns[listener] else {
                    // The gateway is told of it.
                    met = true;
                    continue;
                };
                // Kept as written, not cut down to the intersection: the request is known to match the
                // listener, and precedence goes by what the route says.
                let patterns: Vec<_> =
                    hostnames.iter().filter(|pattern| pattern.intersects(of_listener)).collect();
                met |= !patterns.is_empty();
                let is_barred =
                    !self.barred.is_empty() && self.barred.contains(&(route.key(), listener));
                let is_new = !attached.iter().any(|(index, _)| *index == listener);
                if !patterns.is_empty() && is_new && !is_barred {
                    attached.push((listener, patterns));
                }
            }
            if !met && !hostnames.is_empty() {
                let remedy = format!(
                    "none is among the hosts of the listener of {}; change one or the other",
                    self.gateway.name
                );
                let problem = Problem::new("spec.hostnames", route.hostnames.join(", "), remedy);
                self.problems.push(RouteProblem {
                    route: route.key(),
                    parent: None,
                    problem: problem.of(Fault::NotAttached),
                });
            }
        }
        attached
    }

    fn finish(mut self) -> (Table, Vec<RouteProblem>) {
        self.paths.iter_mut().flat_map(HostMap::values_mut).for_each(PathIndex::finish);
        let listeners = self
            .patterns
            .into_iter()
            .zip(self.paths)
            .map(|(pattern, paths)| Listener { pattern, paths })
            .collect();
        let specs = self.gateway.listeners.clone();
        (Table::from(Inner { specs, listeners, rules: self.rules }), self.problems)
    }
}

type Match = (usize, PathMatcher, Arc<Conditions>);

/// No matches at all is the prefix `/`; matches that are all wrong are none.
fn compile_matches(matches: &[MatchSpec], problems: &mut Vec<Problem>) -> Vec<Match> {
    if matches.is_empty() {
        return vec![(0, PathMatcher::Prefix("".into()), Arc::default())];
    }
    let mut compiled = Vec::new();
    for (index, spec) in matches.iter().enumerate() {
        let before = problems.len();
        let path = compile_path(&spec.path, problems);
        let method = spec.method.as_deref();
        if let Some(method) = method.filter(|method| !METHODS.contains(method)) {
            problems.push(Problem::new(
                "method",
                method,
                format!("use one of {}", METHODS.join(", ")),
            ));
        }
        let headers = compile_named("headers", &spec.headers, str::eq_ignore_ascii_case, problems);
        let query = compile_named("queryParams", &spec.query, |one, two| one == two, problems);
        let at = format!("matches[{index}]");
        let of_match = problems.split_off(before);
        match path {
            Some(path) if of_match.is_empty() => {
                let conditions = Conditions { method: method.map(Into::into), headers, query };
                compiled.push((index, path, Arc::new(conditions)));
            }
            _ => {}
        }
        problems.extend(of_match.into_iter().map(|problem| problem.under(&at)));
    }
    compiled
}

fn compile_path(path: &PathSpec, problems: &mut Vec<Problem>) -> Option<PathMatcher> {
    let (PathSpec::Exact(text) | PathSpec::Prefix(text) | PathSpec::Regex(text)) = path;
    let compiled = match path {
        PathSpec::Regex(pattern) => whole_value_regex(pattern)
            .map(|regex| PathMatcher::Regex { regex, pattern_bytes: pattern.len() })
            .map_err(|problem| problem.under("path")),
        PathSpec::Exact(_) | PathSpec::Prefix(_) => match check_path(text) {
            Err(remedy) => Err(Problem::new("path.value", text, remedy)),
            Ok(checked) if matches!(path, PathSpec::Exact(_)) => {
                Ok(PathMatcher::Exact(checked.into()))
            }
            Ok(checked) => {
                Ok(PathMatcher::Prefix(checked.strip_suffix('/').unwrap_or(&checked).into()))
            }
        },
    };
    compiled.map_err(|problem| problems.push(problem)).ok()
}

/// Of several entries with one name the first counts, as the Gateway API says.
fn compile_named(
    field: &str,
    specs: &[NamedSpec],
    same: impl Fn(&str, &str) -> bool,
    problems: &mut Vec<Problem>,
) -> Vec<Named> {
    let mut compiled: Vec<Named> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let at = format!("{field}[{index}]");
        if !is_token(&spec.name) {
            let remedy = "use a name of letters, digits and !#$%&'*+-.^_`|~";
            problems.push(Problem::new(format!("{at}.name"), &spec.name, remedy));
        }
        match TextMatcher::compile(&spec.value) {
            Err(problem) => problems.push(problem.under(&at)),
            Ok(value) => {
                if !compiled.iter().any(|earlier| same(&earlier.name, &spec.name)) {
                    compiled.push(Named { name: spec.name.as_str().into(), value });
                }
            }
        }
    }
    compiled
}

fn compile_rule(
    route: &RouteSpec,
    rule_index: usize,
    spec: &RuleSpec,
    problems: &mut Vec<Problem>,
) -> Rule {
    let prefix_matched = match spec.matches.as_slice() {
        [] => true,
        [only] => matches!(only.path, PathSpec::Prefix(_)),
        _ => false,
    };
    let mut filter_problems = Vec::new();
    let mut filters = compile_filters(&spec.filters, prefix_matched, &mut filter_problems);
    if filters.redirect.is_some() && !spec.backends.is_empty() {
        let remedy = "a rule either redirects or forwards; remove backendRefs or the redirect";
        filter_problems.push(Problem::new("filters", "requestRedirect", remedy));
    }
    let mut backends: Vec<Backend> = (spec.backends.iter().enumerate())
        .map(|(index, backend)| compile_backend(index, backend, &filters, prefix_matched, problems))
        .collect();
    if let Some(problem) = filter_problems.first() {
        filters = Filters::default();
        backends = vec![Backend { weight: 1, ..Backend::broken(problem.to_string()) }];
    }
    problems.append(&mut filter_problems);
    let backend_timeout_ms = match (spec.request_timeout_ms, spec.backend_timeout_ms) {
        // 0 is no limit, so that nothing is longer, and as a limit of one attempt it is the request's.
        (Some(request), Some(backend)) if request != 0 && backend > request => {
            problems.push(Problem::new(
                "timeouts.backendRequest",
                format!("{backend} ms"),
                format!("use at most the request timeout, {request} ms"),
            ));
            Some(request)
        }
        (_, backend) => backend,
    };
    Rule {
        route: route.key(),
        route_name: route.name.clone(),
        index: rule_index,
        redirect: filters.redirect,
        rewrite: filters.rewrite,
        weight_total: backends.iter().map(|backend| u64::from(backend.weight)).sum(),
        backends,
        request_timeout_ms: spec.request_timeout_ms,
        backend_timeout_ms,
    }
}

fn compile_backend(
    index: usize,
    spec: &BackendSpec,
    of_rule: &Filters,
    prefix_matched: bool,
    problems: &mut Vec<Problem>,
) -> Backend {
    let at = format!("backendRefs[{index}]");
    let mut own = Vec::new();
    let filters = compile_filters(&spec.filters, prefix_matched, &mut own);
    if filters.redirect.is_some() {
        own.push(Problem::new("filters", "requestRedirect", "put the redirect on the rule"));
    }
    let broken = own.first().map(ToString::to_string);
    if spec.weight > WEIGHT_MAX {
        own.push(Problem::new("weight", spec.weight.to_string(), format!("use 0 to {WEIGHT_MAX}")));
    }
    problems.extend(own.into_iter().map(|problem| problem.under(&at)));
    let weight = spec.weight.min(WEIGHT_MAX);
    match broken {
        Some(reason) => Backend { weight, ..Backend::broken(reason) },
        None => Backend {
            service: spec.service.clone(),
            weight,
            http2: spec.http2,
            tls: spec.tls.clone().map(Arc::new),
            request_headers: both(&of_rule.request_headers, filters.request_headers),
            response_headers: both(&of_rule.response_headers, filters.response_headers),
            rewrite: filters.rewrite,
        },
    }
}

/// The edits of a rule, then those of its backend.
fn both(of_rule: &Option<HeaderEdits>, own: Option<HeaderEdits>) -> Vec<HeaderEdits> {
    of_rule.iter().cloned().chain(own).collect()
}
