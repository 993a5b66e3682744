//! Keys and certificates that openssl made, in the forms that people have them in.

use super::*;

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../tests/fixtures/certificates/", $name))
    };
}

fn leaf(pem: &str) -> Vec<u8> {
    certificates(pem).unwrap().swap_remove(0)
}

#[test]
fn keys_of_every_kind_belong_to_their_certificates_and_to_no_others() {
    let pairs = [
        (file!("rsa.crt"), file!("rsa.key")),
        (file!("rsa.crt"), file!("rsa-pkcs1.key")),
        (file!("ec.crt"), file!("ec-sec1.key")),
        (file!("ec-p384.crt"), file!("ec-p384.key")),
        (file!("ed25519.crt"), file!("ed25519.key")),
        (file!("chain.crt"), file!("leaf.key")),
    ];
    for (certificate, _) in pairs {
        assert_eq!(check_key_of(&leaf(certificate)), Ok(()));
        for (other, key) in pairs {
            let expected = certificate == other;
            assert_eq!(is_of(&leaf(certificate), &private_key(key).unwrap()), expected);
        }
    }
}

#[test]
fn what_is_no_usable_key_is_refused_with_what_is_right() {
    for (text, words) in [
        (file!("rsa-encrypted.key"), "openssl pkey"),
        (file!("rsa-encrypted-pkcs1.key"), "openssl pkey"),
        (file!("ec-p521.key"), "P-256 or P-384"),
        (file!("rsa.crt"), "BEGIN PRIVATE KEY"),
        ("", "BEGIN PRIVATE KEY"),
        ("hunter2", "BEGIN PRIVATE KEY"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2", "BEGIN PRIVATE KEY"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "RSA key of 2048"),
        (concat!(file!("rsa.key"), file!("leaf.key")), "several"),
    ] {
        let told = private_key(text).unwrap_err();
        assert!(told.contains(words), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let told = check_key_of(&leaf(file!("rsa-1024.crt"))).unwrap_err();
    assert!(told.contains("2048 bits or more") && told.contains("shorter"), "{told}");
}

#[test]
fn what_is_no_certificate_is_refused_with_what_is_right() {
    for (text, words) in [
        ("", "write PEM"),
        (file!("rsa.key"), "leave the private key out"),
        (concat!(file!("rsa.crt"), file!("rsa-pkcs1.key")), "leave the private key out"),
        (file!("request.csr"), "a request"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "X.509"),
        ("-----BEGIN CERTIFICATE-----\nAA", "write PEM"),
    ] {
        let told = certificates(text).unwrap_err();
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_chain_begins_with_the_certificate_and_each_is_signed_by_the_next() {
    let chain = certificates(file!("chain.crt")).unwrap();
    assert_eq!(chain.len(), 3);
    assert_eq!(check_chain(&chain), Ok(()));
    assert_eq!(check_chain(&chain[..1]), Ok(()));
    for order in [[1, 0, 2], [0, 2, 1], [2, 1, 0]] {
        let mixed: Vec<_> = order.iter().map(|index| chain[*index].clone()).collect();
        let told = check_chain(&mixed).unwrap_err();
        assert!(told.contains("write the certificate first"), "{order:?}: {told}");
    }
}

#[test]
fn a_certificate_says_whose_it_is_and_how_long_it_is_good() {
    let facts = Facts::of(&leaf(file!("rsa.crt"))).unwrap();
    assert_eq!(facts.subject, "CN=shop.example");
    assert_eq!(facts.names, ["shop.example", "*.shop.example", "127.0.0.1"]);
    assert_eq!(facts.fingerprint.len(), 64);
    // No alternative names: the common name is shown.
    assert_eq!(Facts::of(&leaf(file!("ec-p384.crt"))).unwrap().names, ["p384"]);

    let second = Duration::from_secs(1);
    let until = facts.not_after;
    for (now, standing) in [
        (facts.not_before - second, Standing::NotYet),
        (facts.not_before, Standing::Good),
        (until - EXPIRING, Standing::Good),
        (until - EXPIRING + second, Standing::Expiring),
        (until, Standing::Expiring),
        (until + second, Standing::Expired),
    ] {
        assert_eq!(facts.standing(now), standing);
        let described = Described::of(&chain_of(&[file!("rsa.crt")])).unwrap();
        assert_eq!(described.doubt("spec", now).is_none(), standing == Standing::Good);
    }
}

fn chain_of(files: &[&str]) -> routes::tls::Certificate {
    let chain = files.iter().flat_map(|pem| certificates(pem).unwrap()).collect();
    routes::tls::Certificate { chain, ..Default::default() }
}

#[test]
fn a_root_at_the_end_of_a_chain_is_nobodys_business() {
    let all = certificates(file!("chain.crt")).unwrap();
    let described = Described::of(&chain_of(&[file!("chain.crt")])).unwrap();
    let root = Facts::of(&certificates(file!("root.crt")).unwrap()[0]).unwrap();
    assert_eq!(Facts::of(&all[2]).unwrap(), root, "the chain ends with its root");
    assert_eq!(described.facts().len(), 2);
    // What signs itself and is all there is is shown to clients.
    let alone = Described::of(&chain_of(&[file!("root.crt")])).unwrap();
    assert_eq!(alone.facts(), std::slice::from_ref(&root));
    // Authorities sign themselves.
    let authorities = certificates(file!("root.crt")).unwrap();
    let authorities = routes::tls::Certificate { authorities, ..Default::default() };
    let described = Described::of(&authorities).unwrap();
    let told = described.doubt("spec", root.not_after + EXPIRING).unwrap().to_string();
    assert!(told.contains("what it signs may be refused"), "{told}");
}

#[test]
fn who_signs_a_certificate_is_told_apart_from_the_certificate_itself() {
    let day = Duration::from_secs(24 * 60 * 60);
    let of_chain = |lengths: [u32; 2]| {
        let mut described = Described::of(&chain_of(&[file!("chain.crt")])).unwrap();
        let begin = described.facts()[0].not_before;
        described.end_after(lengths.map(|days| begin + day * days));
        (described, begin)
    };
    for (lengths, days, expected) in [
        ([100, 300], 90, Some("it expires soon")),
        ([100, 300], 101, Some("it has expired, clients refuse it")),
        // Clients may know another that signs it, as with roots that sign each other.
        ([300, 100], 101, Some("has expired, some clients may refuse it")),
        ([300, 100], 301, Some("it has expired, clients refuse it")),
        ([300, 100], 290, Some("it expires soon")),
        ([300, 300], 101, None),
    ] {
        let (described, begin) = of_chain(lengths);
        assert_eq!(described.good_until(), Some(begin + day * lengths[0]));
        let told = described.doubt("spec", begin + day * days).map(|doubt| doubt.to_string());
        match (&told, expected) {
            (None, None) => {}
            (Some(told), Some(expected)) => assert!(told.contains(expected), "{told}"),
            _ => panic!("{told:?} {expected:?}"),
        }
    }
}
