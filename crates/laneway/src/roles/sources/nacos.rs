//! Nacos as a source, from what is written of it: where its servers are, and where its password is.

use std::{
    fs,
    io::{self, Read as _},
    sync::Arc,
};

use ::nacos::{Authorities, Credentials, Secrets, Server, Settings, TlsSettings};
use api::resource::{
    NacosIdentity, NacosLogin, NacosSecret, NacosServers, TagCovers, host_and_port,
};
use registry::nacos::NacosSettings;

/// Bytes of a file with a password: more than any has, and far less than other files that hold secrets.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// What is written, as the source runs with it. It was checked when it was written.
pub(super) fn settings(written: &NacosServers) -> NacosSettings {
    let servers = written.addresses.iter().filter_map(|address| {
        let (host, port) = host_and_port(address)?;
        Some(Server { host: host.to_owned(), port })
    });
    let tls = written.tls.as_ref().map(|tls| TlsSettings {
        authorities: match &tls.ca_certificates {
            Some(pem) => Authorities::Pem(pem.clone()),
            None => Authorities::System,
        },
        server_name: tls.server_name.clone(),
    });
    let secrets =
        written.auth.clone().map(|login| -> Secrets { Arc::new(move || credentials(&login)) });
    NacosSettings {
        servers: servers.collect(),
        client: Settings { namespace: written.namespace().to_owned(), secrets, tls },
        groups: written.groups.iter().cloned().collect(),
        tag_covers: match written.tag_covers {
            TagCovers::Address => registry::nacos::TagCovers::Address,
            TagCovers::Registration => registry::nacos::TagCovers::Registration,
        },
        joins: written.joins.clone(),
    }
}

/// Reads the secret anew, or says why there is none; never what was read.
fn credentials(login: &NacosLogin) -> Result<Credentials, String> {
    match login.identity() {
        Some(NacosIdentity::User(name, password)) => Ok(Credentials::User {
            name: name.to_owned(),
            password: secret("auth.password", password)?,
        }),
        Some(NacosIdentity::AccessKey(id, key)) => {
            Ok(Credentials::AccessKey { id: id.to_owned(), secret: secret("auth.secretKey", key)? })
        }
        None => Err("auth: names nobody".to_owned()),
    }
}

fn secret(at: &str, place: &NacosSecret) -> Result<String, String> {
    match (&place.file, &place.environment) {
        (Some(path), _) => only_line(path).map_err(|error| format!("{at}.file: `{path}`: {error}")),
        (None, Some(name)) => variable(name).ok_or_else(|| {
            format!("{at}.environment: `{name}`: the control plane has no such variable")
        }),
        (None, None) => Err(format!("{at}: is missing")),
    }
}

/// The only line of a file. One that has more is no password's, and is shown to nobody.
fn only_line(path: &str) -> io::Result<String> {
    // A pipe in its place would be waited at.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    fs::File::open(path)?.take(PASSWORD_BYTES_MAX + 1).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r');
    if line.is_empty() || line.contains('\n') || text.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(io::Error::other("it does not hold one line with a password"));
    }
    Ok(line.to_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the name of a secret's variable is a resource's, and no setting"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_only_line_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let path = path.to_str().unwrap();
        let at = |file: &str| Some(NacosSecret { file: Some(file.to_owned()), environment: None });
        let user = |file: &str| NacosLogin {
            user: Some("laneway".to_owned()),
            password: at(file),
            ..NacosLogin::default()
        };
        let read = |text: &str| {
            fs::write(path, text).unwrap();
            credentials(&user(path))
        };
        for text in ["pass word", "pass word\n", "pass word\r\n"] {
            let (name, password) = ("laneway".to_owned(), "pass word".to_owned());
            assert_eq!(read(text), Ok(Credentials::User { name, password }));
        }
        let key = NacosLogin {
            access_key: Some("LTAI".to_owned()),
            secret_key: at(path),
            ..NacosLogin::default()
        };
        let (id, secret) = ("LTAI".to_owned(), "pass word".to_owned());
        assert_eq!(credentials(&key), Ok(Credentials::AccessKey { id, secret }));
        for text in ["", "\n", "root:secret\nother:secret\n", &"x".repeat(2000)] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains("password.file") && !refused.contains("secret"), "{refused}");
        }
        assert!(credentials(&user("/dev")).is_err());
    }

    #[test]
    fn what_is_written_is_what_it_runs_with() {
        let written = serde_json::json!({
            "addresses": ["10.0.0.5:8848", "[fd00::1]:80"], "groups": ["b", "a"], "tagCovers": "registration",
            "joins": ["embedded", "fixed"],
        });
        let settings = settings(&serde_json::from_value(written).unwrap());
        let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.5:8848", "[fd00::1]:80"]);
        assert_eq!(settings.client.namespace, "public");
        assert_eq!(settings.groups.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(settings.tag_covers, registry::nacos::TagCovers::Registration);
        assert_eq!(settings.joins, ["embedded", "fixed"]);
    }
}
