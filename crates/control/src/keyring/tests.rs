//! What is sealed opens again, for its object and under its key file alone.

use api::resource::Kind;

use super::*;

const KEY: &str = include_str!("../../../api/tests/fixtures/certificates/ed25519.key");

fn object(name: &str) -> Key {
    Key::new(Kind::Certificate, "default", name)
}

#[test]
fn what_is_sealed_opens_for_its_object_under_its_key_file_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let keyring = Keyring::new(file("one"), true);
    let written = WrittenKey::new(KEY);
    let sealed = keyring.sealed(&object("shop"), &written, None, false).unwrap();
    let text = sealed.sealed().unwrap();
    let opened = Keyring::new(file("one"), true).open(&object("shop"), text).unwrap();
    assert_eq!(opened, api::certificate::private_key(KEY).unwrap());
    // The same key again is the same text; without what is there it is another.
    let again = keyring.sealed(&object("shop"), &written, Some(&sealed), false).unwrap();
    assert_eq!(again, sealed);
    assert_ne!(keyring.sealed(&object("shop"), &written, None, false).unwrap(), sealed);

    assert!(matches!(keyring.open(&object("other"), text), Err(KeyringError::NotOfThis)));
    for at in [text.len() - 1, text.len() / 2, NAME_LENGTH + 2] {
        let mut spoilt = text.as_bytes().to_vec();
        spoilt[at] = if spoilt[at] == b'A' { b'B' } else { b'A' };
        let spoilt = String::from_utf8(spoilt).unwrap();
        assert!(keyring.open(&object("shop"), &spoilt).is_err(), "{at}");
    }
    let other = Keyring::new(file("two"), true);
    other.sealed(&object("shop"), &written, None, false).unwrap();
    assert!(matches!(other.open(&object("shop"), text), Err(KeyringError::OtherFile(_))));
}

#[test]
fn a_key_file_that_is_named_is_not_made_and_a_spoilt_one_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("named");
    let keyring = Keyring::new(path.clone(), false);
    let refused = || {
        let sealed = keyring.sealed(&object("shop"), &WrittenKey::new(KEY), None, false);
        sealed.unwrap_err().remedy
    };
    assert!(refused().contains("is missing"), "{}", refused());
    for text in ["", "00", "not hexadecimal", &"0".repeat(65), &"é".repeat(32)] {
        fs::write(&path, text).unwrap();
        assert!(refused().contains("openssl rand -hex 32"), "{}", refused());
    }
    fs::write(&path, format!("{}\n", "0f".repeat(32))).unwrap();
    keyring.sealed(&object("shop"), &WrittenKey::new(KEY), None, false).unwrap();
}

#[test]
fn a_key_file_is_there_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.key");
    let failed = put_whole(&path, |file| {
        file.write_all(b"0f0f").unwrap();
        assert!(!path.exists());
        Err(io::Error::from(io::ErrorKind::StorageFull))
    });
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

    let keyring = Keyring::new(path.clone(), true);
    keyring.sealed(&object("shop"), &WrittenKey::new(KEY), None, false).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // Nor does it take the place of another.
    let made = fs::read(&path).unwrap();
    put_whole(&path, |file| file.write_all(b"another")).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), made);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn nothing_is_sealed_beside_others_under_a_key_that_is_no_longer_in_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.key");
    let keyring = Keyring::new(path.clone(), true);
    let written = WrittenKey::new(KEY);
    let sealed = |is_used| keyring.sealed(&object("shop"), &written, None, is_used);
    let first = sealed(false).unwrap();
    let kept = fs::read(&path).unwrap();
    assert!(keyring.stays().is_ok());

    fs::remove_file(&path).unwrap();
    assert!(matches!(keyring.stays(), Err(KeyringError::NotAsRead(_, "has gone"))));
    assert!(sealed(true).unwrap_err().remedy.contains("has gone"));
    fs::write(&path, "0f".repeat(KEY_BYTES)).unwrap();
    assert!(matches!(keyring.stays(), Err(KeyringError::NotAsRead(..))));
    assert!(sealed(true).unwrap_err().remedy.contains("has become another"));
    // What was sealed before still opens, and the same file again, though a new one, is the same.
    keyring.open(&object("shop"), first.sealed().unwrap()).unwrap();
    fs::write(&path, kept).unwrap();
    assert!(keyring.stays().is_ok());
    sealed(true).unwrap();

    // Where nothing else is sealed, nothing is lost with it.
    fs::remove_file(&path).unwrap();
    let last = sealed(false).unwrap();
    assert!(keyring.stays().is_ok());
    Keyring::new(path, true).open(&object("shop"), last.sealed().unwrap()).unwrap();
}
