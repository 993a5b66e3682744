//! How command lines are understood, and which source of a setting wins.

use clap::CommandFactory;

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

#[test]
fn the_definitions_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("laneway.yaml");
    std::fs::write(&file, "gateway-listen: 127.0.0.1:1\napi-listen: 127.0.0.1:2\n").unwrap();
    let line = format!("laneway serve --config {} --api-listen 127.0.0.1:3", file.display());
    let Ok(Command::Serve(settings)) = read(&words(&line)) else { panic!("not read") };
    assert_eq!(settings.now.gateway.listen.port(), 1);
    assert_eq!(settings.now.control.api_listen.port(), 3);
    assert_eq!(settings.now.control.discovery_listen.port(), 7601);
}

#[test]
fn what_the_file_says_wrong_is_named_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("laneway.yaml");
    std::fs::write(&file, "gateway-listen: nowhere\n").unwrap();
    let line = format!("laneway serve --config {}", file.display());
    let Err(Unreadable::Settings(bad)) = read(&words(&line)) else { panic!("was taken") };
    let path = file.display();
    assert!(bad.to_string().starts_with(&format!("gateway-listen: `nowhere` (from {path}): use")));
}

#[test]
fn settings_are_read_again_from_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("laneway.yaml");
    std::fs::write(&file, "log-level: info\n").unwrap();
    let line = format!("laneway serve --config {}", file.display());
    let Ok(Command::Serve(settings)) = read(&words(&line)) else { panic!("not read") };
    std::fs::write(&file, "log-level: debug\n").unwrap();
    assert_eq!(settings.read_again().unwrap().process.log_level, "debug");
    std::fs::write(&file, "log-level: loud\n").unwrap();
    assert!(settings.read_again().is_err());
}

#[test]
fn capture_is_a_switch_that_can_also_be_switched_off() {
    for (flag, expected) in [("", false), ("--capture", true), ("--capture=false", false)] {
        let line = format!(
            "laneway sidecar --application a --app-address 127.0.0.1:1 --control 127.0.0.1:2 \
             --inbound-listen 0.0.0.0:3 --advertise 10.0.0.7:3 {flag}"
        );
        let Ok(Command::Sidecar(settings)) = read(&words(&line)) else { panic!("not read") };
        assert_eq!(settings.now.capture, expected, "{flag}");
    }
}

#[test]
fn verbs_take_the_server_after_their_own_words() {
    for line in [
        "laneway lane disable trade/gray --server http://127.0.0.1:1",
        "laneway lane --server http://127.0.0.1:1 disable trade/gray",
        "laneway delete Lane trade-gray -n other",
        "laneway lane disable trade/gray -n other",
        "laneway route add a --backend sc-A -n other",
        "laneway get Lane -A -o json",
        "laneway explain -X POST -H canary:gray http://edge/a --path sc-A,sc-B",
        "laneway apply -f one.yaml -f two",
    ] {
        assert!(read(&words(line)).is_ok(), "{line}");
    }
}
