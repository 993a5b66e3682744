//! What an authority signs is good as long as it says, and nothing of anybody else is.

use rcgen::CertificateParams;

use super::*;

const LIFE: Duration = Duration::from_secs(600);

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_501_800 + seconds)
}

fn new(directory: &tempfile::TempDir) -> (Authorities, Keyring) {
    let keyring = Keyring::new(directory.path().join("laneway.key"), true);
    (Authorities::new(&[], &keyring, LIFE), keyring)
}

fn name() -> DataPlaneName {
    DataPlaneName { token: "id".to_owned(), node: "node".to_owned() }
}

fn request() -> String {
    let key = KeyPair::generate().unwrap();
    CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap()
}

fn certified(authorities: &Authorities, now: SystemTime) -> Vec<u8> {
    let made = authorities.certify(&request(), &name(), "app-a", now).unwrap();
    assert_eq!(made.ends, now + LIFE);
    CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap().to_vec()
}

fn verified(
    authorities: &Authorities,
    der: &[u8],
    now: SystemTime,
) -> Result<DataPlaneName, NotGood> {
    authorities.verify(der, now).map(|certificate| certificate.name)
}

#[test]
fn a_certificate_is_good_for_its_life_and_for_clocks_that_differ() {
    let directory = tempfile::tempdir().unwrap();
    let (authorities, keyring) = new(&directory);
    let nobody = authorities.certify(&request(), &name(), "app-a", at(0)).unwrap_err();
    assert!(matches!(nobody, CertifyError::Nobody));
    authorities.add(Authority::make(&keyring, false, at(0)).unwrap().0, at(0));
    let der = certified(&authorities, at(0));
    for (now, expected) in [
        (at(0), Ok(name())),
        (at(599), Ok(name())),
        (at(0) - CLOCKS_DIFFER, Ok(name())),
        (at(601), Err(NotGood::Ended(at(601)))),
        (at(0) - 2 * CLOCKS_DIFFER, Err(NotGood::NotYet(at(0) - 2 * CLOCKS_DIFFER))),
    ] {
        assert_eq!(verified(&authorities, &der, now), expected, "{now:?}");
    }
    let refused = authorities.certify("a request", &name(), "app-a", at(0)).unwrap_err();
    assert!(matches!(refused, CertifyError::Request(_)), "{refused}");
}

#[test]
fn a_certificate_of_another_authority_or_for_another_use_is_not_good() {
    let (directory, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((authorities, keyring), (other, other_keyring)) = (new(&directory), new(&others));
    authorities.add(Authority::make(&keyring, false, at(0)).unwrap().0, at(0));
    other.add(Authority::make(&other_keyring, false, at(0)).unwrap().0, at(0));
    let der = certified(&other, at(0));
    assert_eq!(authorities.verify(&der, at(1)), Err(NotGood::OfAnother));
    // What the listener shows is no data plane's.
    let authority = authorities.newest().unwrap();
    let shown = authorities.server.of(&authority, at(0)).unwrap();
    assert_eq!(authorities.verify(&shown.cert[0], at(1)), Err(NotGood::OfAnother));
    assert_eq!(authorities.verify(b"no certificate", at(1)), Err(NotGood::OfAnother));
}

#[test]
fn one_that_was_stored_goes_on_where_its_key_file_is_and_is_believed_where_it_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (authorities, keyring) = new(&directory);
    let (authority, stored) = Authority::make(&keyring, false, at(0)).unwrap();
    assert!(!stored.sealed.contains("PRIVATE"), "{stored:?}");
    authorities.add(authority, at(0));
    let der = certified(&authorities, at(0));
    let mesh = authorities.names_of_mesh("the secret of the mesh", at(0));

    let opened = Authorities::new(std::slice::from_ref(&stored), &keyring, LIFE);
    assert_eq!(verified(&opened, &der, at(1)), Ok(name()));
    assert_eq!(opened.names_of_mesh("the secret of the mesh", at(0)), mesh);
    assert_ne!(opened.names_of_mesh("another secret of a mesh", at(0)), mesh);
    certified(&opened, at(0));

    let lost = Keyring::new(directory.path().join("nowhere"), false);
    let lost = Authorities::new(&[stored], &lost, LIFE);
    assert_eq!(verified(&lost, &der, at(1)), Ok(name()));
    assert!(lost.newest().is_none());
}

#[test]
fn one_that_was_replaced_is_believed_until_all_that_it_signed_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let (authorities, keyring) = new(&directory);
    let (authority, stored) = Authority::make(&keyring, false, at(0)).unwrap();
    authorities.add(authority, at(0));
    let old = authorities.newest().unwrap().fingerprint;
    let der = certified(&authorities, at(1_000));
    authorities.add(Authority::make(&keyring, false, at(1_000)).unwrap().0, at(1_000));
    let new = authorities.newest().unwrap().fingerprint;
    let believed = |now| {
        let all = authorities.believed(now);
        all.iter().map(|authority| authority.fingerprint).collect::<Vec<_>>()
    };
    assert_eq!(verified(&authorities, &der, at(1_001)), Ok(name()));
    assert_eq!(believed(at(1_000)), [old, new]);
    assert_eq!(believed(at(1_000) + LIFE), [old, new]);
    let over = at(1_001) + LIFE + REPLACED_MARGIN;
    assert_eq!(believed(over), [new]);
    assert_eq!(authorities.verify(&der, over), Err(NotGood::Ended(over)));
    // Nor what somebody signs who has its key.
    let der = certified(&Authorities::new(&[stored], &keyring, LIFE), over);
    assert_eq!(authorities.verify(&der, over), Err(NotGood::OfAnother));
    certified(&authorities, over);
}

#[test]
fn what_the_listener_shows_is_made_anew_when_a_clock_that_was_ahead_is_set_right() {
    let directory = tempfile::tempdir().unwrap();
    let (authorities, keyring) = new(&directory);
    authorities.add(Authority::make(&keyring, false, at(0)).unwrap().0, at(0));
    let authority = authorities.newest().unwrap();
    let day = Duration::from_secs(86_400);
    let shown = |now| authorities.server.of(&authority, now).unwrap().cert[0].clone();
    let ahead = shown(at(0) + 3 * day);
    let right = shown(at(0));
    assert_ne!(right, ahead);
    // Clocks that differ by a little, and the days after, change nothing.
    assert_eq!(shown(at(0) - CLOCKS_DIFFER / 4), right);
    assert_eq!(shown(at(0) + 14 * day), right);
    assert_ne!(shown(at(0) + 16 * day), right);
}

#[test]
fn one_that_cannot_sign_is_shown_to_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let (_, keyring) = new(&directory);
    let (old, stored) = Authority::make(&keyring, false, at(0)).unwrap();
    let lost = Keyring::new(directory.path().join("another"), true);
    let authorities = Authorities::new(&[stored], &lost, LIFE);
    let asked = old.fingerprint.server_name();
    assert!(authorities.shown_to(&asked, at(0)).is_none());
    // Whoever put another key file there makes another.
    std::fs::write(directory.path().join("another"), "0f".repeat(32)).unwrap();
    let (new, _) = Authority::make(&lost, false, at(1)).unwrap();
    let (newest, also_new) = (new.fingerprint, new.fingerprint.server_name());
    authorities.add(new, at(1));
    for asked in [&asked, &also_new, "", "elsewhere.example"] {
        assert_eq!(authorities.shown_to(asked, at(1)).unwrap().fingerprint, newest, "{asked}");
    }
}

#[test]
fn no_key_file_is_made_where_another_has_gone_that_something_is_sealed_under() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.key");
    let made = |keyring: &Keyring, is_used| Authority::make(keyring, is_used, at(0));
    let refused = |keyring: &Keyring, is_used| made(keyring, is_used).unwrap_err().to_string();
    // An older store with sealed certificates, and no key file.
    let keyring = Keyring::new(path.clone(), true);
    assert!(refused(&keyring, true).contains("put it back"));
    assert!(!path.exists());
    let (_, stored) = made(&keyring, false).unwrap();
    std::fs::remove_file(&path).unwrap();
    let words = refused(&keyring, false);
    assert!(words.contains("has gone") && words.contains("put it back"), "{words}");
    // After a restart too, and for certificates.
    let keyring = Keyring::new(path.clone(), true);
    Authorities::new(&[stored], &keyring, LIFE);
    assert!(refused(&keyring, false).contains("is missing, and private keys are sealed under it"));
    let object = api::resource::Key::new(api::resource::Kind::Certificate, "default", "shop");
    let key = include_str!("../../../api/tests/fixtures/certificates/ed25519.key");
    let written = api::resource::WrittenKey::new(key);
    let sealed = keyring.sealed(&object, &written, None, false);
    assert!(sealed.unwrap_err().remedy.contains("put it back"));
    assert!(!path.exists());
}
