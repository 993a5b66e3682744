//! Nacos as a source of instances, as written.

use std::{collections::BTreeSet, path::Path};

use lanes::Problem;
use serde::{Deserialize, Serialize};

use crate::certificate;

/// The group that registrations are in which name none.
const DEFAULT_GROUP: &str = "DEFAULT_GROUP";

/// The namespace that is there in every server. What is empty means it, too.
const PUBLIC: &str = "public";

/// What names of environment variables begin with that a source may show to a server: whoever writes resources learns
/// no other secret of the control plane's by them.
const ENVIRONMENT_PREFIX: &str = "LANEWAY_NACOS_";

/// How the name of a file with a password begins.
const FILE_PREFIX: &str = "laneway-nacos-";

/// Servers of one cluster, and groups of one source: more than anybody has.
const ADDRESSES_MAX: usize = 100;
const GROUPS_MAX: usize = 100;
const JOINS_MAX: usize = 8;

/// Characters of a namespace and of a group: what Nacos takes.
const NAME_CHARACTERS_MAX: usize = 128;

/// One cluster of Nacos 2, and which of its services are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NacosServers {
    /// `HOST:PORT` of each server's HTTP API (8848); gRPC is 1000 above it. One is used at a time.
    #[schema(min_items = 1)]
    pub addresses: Vec<String>,
    /// The namespace's id, or its name. `public` when not given, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub namespace: String,
    /// Groups whose services are taken.
    #[serde(default = "default_groups", skip_serializing_if = "is_default_groups")]
    #[schema(required = false, min_items = 1)]
    pub groups: Vec<String>,
    /// Who Laneway is there; nobody when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<NacosLogin>,
    /// TLS, of HTTP and of gRPC; in the clear when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<NacosTls>,
    /// Which registrations a tag covers that one of them says.
    #[serde(default, skip_serializing_if = "TagCovers::is_default")]
    #[schema(required = false)]
    pub tag_covers: TagCovers,
    /// Sources that may say the tag of an instance of which nothing here says one, by name; `embedded` is what sidecars register
    /// in. Each is asked by the instance's IP address, and the first that knows it counts. Whom none knows is held back for
    /// 10 s, so that it is not taken for base.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub joins: Vec<String>,
}

/// A user of Nacos, or an access key of Alibaba's servers (MSE): `user` and `password`, or `accessKey` and `secretKey`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NacosLogin {
    /// The user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where its password is: never here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<NacosSecret>,
    /// The access key's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// Where the secret is that each call is signed with: never here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<NacosSecret>,
}

/// Where a secret is on the control plane's host; exactly one of the two. It is read again and again, so that it may be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NacosSecret {
    /// The path of a file that has it in its only line; its name begins with `laneway-nacos-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// An environment variable; its name begins with `LANEWAY_NACOS_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

/// Whom Laneway believes to be the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NacosTls {
    /// PEM: who signs its certificate; those whom the control plane's system believes when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
    /// The name that its certificate is for; the host of its address when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// Which registrations a tag covers that one of them says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TagCovers {
    /// All that say nothing at the same IP address: an application registers under several names, and each process has
    /// an address of its own.
    #[default]
    Address,
    /// That one alone: several processes share an address.
    Registration,
}

impl TagCovers {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl NacosServers {
    /// The namespace as Backends name it.
    pub fn namespace(&self) -> &str {
        if self.namespace.is_empty() { PUBLIC } else { &self.namespace }
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = self.address_problems();
        if self.namespace.chars().count() > NAME_CHARACTERS_MAX {
            let remedy = format!("use at most {NAME_CHARACTERS_MAX} characters");
            problems.push(Problem::new("namespace", &self.namespace, remedy));
        } else if self.namespace.trim() != self.namespace {
            let remedy = "write the id or the name without white space around it";
            problems.push(Problem::new("namespace", &self.namespace, remedy));
        }
        problems.extend(self.group_problems());
        problems.extend(self.auth.iter().flat_map(NacosLogin::problems));
        if let Some(tls) = &self.tls {
            let found = tls.problems().into_iter();
            problems.extend(found.map(|problem| problem.under("tls")));
        }
        problems.extend(self.join_problems());
        problems
    }

    fn join_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.joins.len() > JOINS_MAX {
            let count = format!("{} sources", self.joins.len());
            problems.push(Problem::new("joins", count, format!("name at most {JOINS_MAX}")));
        }
        let mut seen = BTreeSet::new();
        for (index, source) in self.joins.iter().enumerate() {
            if !seen.insert(source) {
                let remedy = "name each source once";
                problems.push(Problem::new(format!("joins[{index}]"), source, remedy));
            }
        }
        problems
    }

    fn address_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.addresses.is_empty() || self.addresses.len() > ADDRESSES_MAX {
            let count = format!("{} addresses", self.addresses.len());
            let remedy = format!("name 1 to {ADDRESSES_MAX} servers, e.g. [\"10.0.0.5:8848\"]");
            problems.push(Problem::new("addresses", count, remedy));
        }
        let mut seen = BTreeSet::new();
        for (index, address) in self.addresses.iter().enumerate() {
            let remedy = match host_and_port(address) {
                None => "use HOST:PORT of its HTTP API, e.g. 10.0.0.5:8848; no http:// before it",
                Some((_, port)) if port > u16::MAX - 1000 => {
                    "use the port of its HTTP API: that of gRPC, 1000 above, would be none"
                }
                Some(_) if !seen.insert(address.to_lowercase()) => "name each server once",
                Some(_) => continue,
            };
            problems.push(Problem::new(format!("addresses[{index}]"), address, remedy));
        }
        problems
    }

    fn group_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.groups.is_empty() || self.groups.len() > GROUPS_MAX {
            let count = format!("{} groups", self.groups.len());
            let remedy =
                format!("name 1 to {GROUPS_MAX} groups, or leave the field out: {DEFAULT_GROUP}");
            problems.push(Problem::new("groups", count, remedy));
        }
        // What Nacos takes for a group.
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
        let mut seen = BTreeSet::new();
        for (index, group) in self.groups.iter().enumerate() {
            let remedy = if group.is_empty()
                || group.len() > NAME_CHARACTERS_MAX
                || !group.chars().all(allowed)
            {
                "use the name of a group: A-Z, a-z, 0-9, -, _, . and :, at most 128"
            } else if !seen.insert(group.to_lowercase()) {
                "name each group once (case does not matter)"
            } else {
                continue;
            };
            problems.push(Problem::new(format!("groups[{index}]"), group, remedy));
        }
        problems
    }
}

/// Who logs in, or signs: a name, and where the secret is.
#[derive(Debug, Clone, Copy)]
pub enum NacosIdentity<'l> {
    /// A user, and its password.
    User(&'l str, &'l NacosSecret),
    /// An access key's id, and what is signed with.
    AccessKey(&'l str, &'l NacosSecret),
}

impl NacosLogin {
    /// Who is meant; none where it is not one of the two.
    pub fn identity(&self) -> Option<NacosIdentity<'_>> {
        match (&self.user, &self.password, &self.access_key, &self.secret_key) {
            (Some(user), Some(password), None, None) => Some(NacosIdentity::User(user, password)),
            (None, None, Some(id), Some(secret)) => Some(NacosIdentity::AccessKey(id, secret)),
            _ => None,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let (field, name, at, secret) = match self.identity() {
            Some(NacosIdentity::User(name, secret)) => ("auth.user", name, "auth.password", secret),
            Some(NacosIdentity::AccessKey(id, secret)) => {
                ("auth.accessKey", id, "auth.secretKey", secret)
            }
            None => {
                let written = [
                    ("user", self.user.is_some()),
                    ("password", self.password.is_some()),
                    ("accessKey", self.access_key.is_some()),
                    ("secretKey", self.secret_key.is_some()),
                ];
                let written = written.iter().filter(|(_, is)| *is).map(|(field, _)| *field);
                let written = written.collect::<Vec<_>>().join(", ");
                let remedy = "write user and password, or accessKey and secretKey";
                return vec![Problem::new("auth", written, remedy)];
            }
        };
        let mut problems = Vec::new();
        if name.is_empty() {
            let remedy = "write the name of a user of Nacos, or the id of an access key";
            problems.push(Problem::new(field, "", remedy));
        }
        problems.extend(secret.problem(at));
        problems
    }
}

impl NacosSecret {
    fn problem(&self, at: &str) -> Option<Problem> {
        let (field, value, remedy) = match (&self.file, &self.environment) {
            (Some(_), Some(_)) | (None, None) => {
                let remedy = "write one of file: PATH and environment: NAME; the secret itself is never written here";
                return Some(Problem::new(at, "", remedy));
            }
            (Some(file), None) if !Path::new(file).is_absolute() => {
                ("file", file, "use an absolute path on the control plane's host")
            }
            (Some(file), None) if !is_meant_for_this(file) => {
                ("file", file, "name the file laneway-nacos-…: others are read for nobody")
            }
            (None, Some(name)) if !is_variable(name) => {
                let remedy =
                    "use a variable whose name begins with LANEWAY_NACOS_, of A-Z, 0-9 and _";
                ("environment", name, remedy)
            }
            _ => return None,
        };
        Some(Problem::new(format!("{at}.{field}"), value, remedy))
    }
}

impl NacosTls {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(Err(remedy)) = self.ca_certificates.as_deref().map(certificate::certificates) {
            problems.push(Problem::new("caCertificates", "", remedy));
        }
        if let Some(name) = &self.server_name
            && rustls_pki_types::ServerName::try_from(name.as_str()).is_err()
        {
            let remedy = "use a host name, e.g. nacos.example.com";
            problems.push(Problem::new("serverName", name, remedy));
        }
        problems
    }
}

/// `HOST:PORT`, an IPv6 host in brackets; none of anything else.
pub fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => {
            rest.strip_suffix(']').filter(|it| it.parse::<std::net::Ipv6Addr>().is_ok())?
        }
        None => host,
    };
    let is_name = |it: &str| {
        !it.is_empty()
            && it.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
    };
    (host.starts_with('[') || is_name(bare)).then_some((bare, port))
}

/// Whoever writes resources also says to which server the password is shown: the control plane's other files are not theirs.
fn is_meant_for_this(file: &str) -> bool {
    let name = Path::new(file).file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(FILE_PREFIX))
}

fn is_variable(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let rest = name.strip_prefix(ENVIRONMENT_PREFIX);
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(allowed))
}

fn default_groups() -> Vec<String> {
    vec![DEFAULT_GROUP.to_owned()]
}

fn is_default_groups(groups: &[String]) -> bool {
    matches!(groups, [only] if only == DEFAULT_GROUP)
}
