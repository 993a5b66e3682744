//! Configurations: which of them there are, what they say, and that they change.

use serde::{Deserialize, Serialize};

use crate::{Connection, Error, login::About, settings::PUBLIC};

/// What a server says of a configuration that is not there.
const NOT_FOUND: i32 = 300;

/// A configuration within a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigId {
    /// Its group.
    pub group: String,
    /// Its id there.
    pub data_id: String,
}

/// What a configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// Its text.
    #[serde(default)]
    pub content: String,
    /// The digest by which a server knows whether it is otherwise than before.
    #[serde(default)]
    pub md5: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    module: &'static str,
    group: &'a str,
    data_id: &'a str,
    tenant: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listening<'a> {
    module: &'static str,
    listen: bool,
    config_listen_contexts: Vec<Known<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Known<'a> {
    group: &'a str,
    data_id: &'a str,
    tenant: &'a str,
    md5: &'a str,
}

/// Which configurations are otherwise.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    #[serde(default)]
    changed_configs: Vec<Named>,
}

/// A configuration as a server names it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Named {
    pub(crate) group: String,
    pub(crate) data_id: String,
}

impl From<Named> for ConfigId {
    fn from(Named { group, data_id }: Named) -> Self {
        Self { group, data_id }
    }
}

impl Connection {
    /// Which of these are otherwise than by the digests that they are known by; the digest of one that is not there is
    /// empty. From now on their changes are pushed.
    pub async fn listen(&self, known: &[(ConfigId, String)]) -> Result<Vec<ConfigId>, Error> {
        let tenant = self.tenant();
        let contexts = known.iter().map(|(ConfigId { group, data_id }, md5)| {
            let (group, data_id, md5) = (group.as_str(), data_id.as_str(), md5.as_str());
            Known { group, data_id, tenant, md5 }
        });
        let config_listen_contexts = contexts.collect();
        let asked = Listening { module: "config", listen: true, config_listen_contexts };
        let what = "to tell which configurations there are";
        let changed: Changed =
            self.ask("ConfigBatchListenRequest", what, About::Configs, &asked).await?;
        Ok(changed.changed_configs.into_iter().map(ConfigId::from).collect())
    }

    /// What a configuration says now; `None` where there is none.
    pub async fn config(&self, id: &ConfigId) -> Result<Option<Config>, Error> {
        let ConfigId { group, data_id } = id;
        let asked = Asked { module: "config", group, data_id, tenant: self.tenant() };
        let what = format!("to tell configuration `{group}/{data_id}`");
        let about = About::Config { tenant: asked.tenant, group };
        match self.ask("ConfigQueryRequest", &what, about, &asked).await {
            Ok(config) => Ok(Some(config)),
            Err(Error::Refused { code: NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The namespace, as configurations have it: there the public one has no name.
    fn tenant(&self) -> &str {
        if self.namespace() == PUBLIC { "" } else { self.namespace() }
    }
}
