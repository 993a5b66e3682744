//! The token of a data directory: whoever may read the directory may show it.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context, bail};
use axum::http::{HeaderMap, header};
use discovery::snapshot::write_atomically;
use subtle::ConstantTimeEq;

use crate::data_directory;

/// The file in the data directory.
pub(crate) const FILE: &str = "api-token";

/// The file beside it that says where the process answers that takes the token.
const ADDRESS_FILE: &str = "api-address";

/// Characters of a token: enough that none is guessed, few enough for any header.
const CHARACTERS: std::ops::RangeInclusive<usize> = 32..=512;

/// Who shows it is known.
#[derive(Clone)]
pub(crate) struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// The token of a data directory; made when there is none yet.
    pub(crate) fn keep(data: &Path) -> anyhow::Result<Self> {
        let path = data.join(FILE);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                bail!(
                    "`{}` can be read by others: delete it to have a new one made, or keep it with `chmod 600`",
                    path.display()
                )
            }
            Ok(_) => Self::read(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // 244 bits of the system's randomness.
                let token =
                    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
                write_atomically(&path, format!("{token}\n").as_bytes())
                    .with_context(|| format!("data: write `{}`", path.display()))?;
                Ok(Self(token))
            }
            Err(error) => Err(error).with_context(|| format!("data: read `{}`", path.display())),
        }
    }

    /// Reads a token from a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("read the token in `{}`", path.display()))?;
        let token = text.trim();
        let usable =
            CHARACTERS.contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !usable {
            bail!(
                "`{}` is no token: it needs {} to {} printable ASCII characters without blanks; delete it to have a new one made",
                path.display(),
                CHARACTERS.start(),
                CHARACTERS.end()
            );
        }
        Ok(Self(token.to_owned()))
    }

    /// The token, to be sent.
    pub(crate) fn into_text(self) -> String {
        self.0
    }

    /// Whether a request shows it. Compared without telling by its duration how much is right.
    pub(super) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let bearer = shown.and_then(|value| {
            let (scheme, token) = value.split_at_checked("bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
        });
        bearer.is_some_and(|token| token.ct_eq(self.0.as_bytes()).into())
    }
}

/// Writes down where the process answers that takes the directory's token.
pub(crate) fn write_address(data: &Path, address: SocketAddr) -> io::Result<()> {
    write_atomically(&data.join(ADDRESS_FILE), format!("{address}\n").as_bytes())
}

/// The token of the first of these data directories whose process runs, on this machine, and answers at `host:port`.
/// To anybody else it is not told: another user may listen there while that process does not.
pub(crate) fn for_server<'a>(
    host: &str,
    port: u16,
    directories: impl IntoIterator<Item = &'a Path>,
) -> Option<Token> {
    let asked: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let answers_there = |data: &Path| {
        let written = fs::read_to_string(data.join(ADDRESS_FILE)).ok()?;
        let listens: SocketAddr = written.trim().parse().ok()?;
        let same = match asked {
            Some(asked) => {
                asked == listens.ip() || (asked.is_loopback() && listens.ip().is_unspecified())
            }
            None => {
                host == "localhost" && (listens.ip().is_loopback() || listens.ip().is_unspecified())
            }
        };
        (same && listens.port() == port && data_directory::is_held(data)).then_some(())
    };
    let mut directories = directories.into_iter();
    directories.find_map(|data| {
        answers_there(data)?;
        Token::read(&data.join(FILE)).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_directory::{DataDirectory, Unwritable};

    #[test]
    fn a_token_is_made_once_and_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let made = Token::keep(parent.path()).unwrap();
        assert_eq!(made.0.len(), 64);
        assert_eq!(Token::keep(parent.path()).unwrap().0, made.0);
        let file = parent.path().join(FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Token::keep(parent.path()).unwrap_err().to_string();
        assert!(refused.contains("can be read by others"), "{refused}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "short").unwrap();
        let refused = Token::keep(parent.path()).unwrap_err().to_string();
        assert!(refused.contains("needs 32 to 512"), "{refused}");
    }

    #[test]
    fn it_is_shown_whole_and_as_a_bearer() {
        let token = Token("0123456789abcdef0123456789abcdef".to_owned());
        let shown = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            token.is_shown(&headers)
        };
        assert!(shown("Bearer 0123456789abcdef0123456789abcdef"));
        assert!(shown("bearer  0123456789abcdef0123456789abcdef"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdef",
            "0123456789abcdef0123456789abcdef",
            "Basic 0123456789abcdef0123456789abcdef",
            "Bearer 0123456789abcdef0123456789abcdefg",
        ] {
            assert!(!shown(wrong), "{wrong}");
        }
        assert!(!token.is_shown(&HeaderMap::new()));
    }

    #[test]
    fn the_token_is_told_only_to_the_running_process_it_belongs_to() {
        let parent = tempfile::tempdir().unwrap();
        let held = DataDirectory::take(parent.path(), Unwritable::IsRefused).unwrap();
        let token = Token::keep(parent.path()).unwrap();
        write_address(parent.path(), "127.0.0.1:7600".parse().unwrap()).unwrap();
        let found = |host: &str, port| {
            for_server(host, port, [Path::new("/nowhere"), parent.path()]).map(Token::into_text)
        };
        assert_eq!(found("127.0.0.1", 7600), Some(token.clone().into_text()));
        assert_eq!(found("localhost", 7600), Some(token.into_text()));
        for (host, port) in [("127.0.0.2", 7600), ("127.0.0.1", 7700), ("control.example", 7600)] {
            assert_eq!(found(host, port), None, "{host}:{port}");
        }
        drop(held);
        assert_eq!(found("127.0.0.1", 7600), None, "nobody runs there: it may be anybody's port");
    }
}
