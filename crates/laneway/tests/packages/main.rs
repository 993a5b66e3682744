//! What `cargo xtask dist` makes: it installs and is removed as Debian's packages are, systemd finds nothing wrong with
//! its units, and the sample scenario runs on plain hosts with nothing but what is in the package.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test"
)]

mod machine;
mod scenario;
mod unit;

use std::{
    collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command,
};

use anyhow::{Context as _, Result, ensure};
use testkit::needs;

use machine::{System, package, packages};

/// What a unit may have of what there is, by systemd's own count: 100 is a service that nothing holds. Ours are at 16
/// to 19; most of what is left is the network.
const EXPOSURE_MAX: &str = "20";

const SERVICES: [&str; 3] =
    ["laneway-control.service", "laneway-gateway.service", "laneway-sidecar@.service"];
const SOCKET: &str = "laneway-gateway.socket";

/// What a program prints; it is to end well.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}{errors}");
    ensure!(errors.is_empty(), "{command:?}: {errors}");
    Ok(said)
}

#[test]
fn both_packages_have_the_same_files_and_the_sums_are_theirs() -> Result<()> {
    if !needs("packages") {
        return Ok(());
    }
    said(Command::new("sha256sum").current_dir(packages()?).args(["--check", "SHA256SUMS"]))?;
    let listed = said(Command::new("tar").arg("--list").arg("--file").arg(package(".tar.gz")?))?;
    let in_tarball: BTreeSet<_> =
        listed.lines().filter_map(|line| line.split_once('/')).map(|(_, file)| file).collect();
    let listed = said(Command::new("dpkg-deb").arg("--contents").arg(package(".deb")?))?;
    let owned_by_root = listed.lines().all(|line| line.contains(" root/root "));
    assert!(owned_by_root, "{listed}");
    let in_etc = |line: &&str| line.starts_with('-') && line.contains(" ./etc/");
    let settings: Vec<_> = listed.lines().filter(in_etc).collect();
    assert!(!settings.is_empty(), "{listed}");
    for line in settings {
        assert!(line.starts_with("-rw-r-----"), "others may read it: {line}");
    }
    let in_package: BTreeSet<_> = listed
        .lines()
        .filter(|line| line.starts_with('-'))
        .filter_map(|line| line.split_once(" ./").map(|(_, file)| file))
        .collect();
    assert_eq!(in_tarball, in_package);
    assert!(in_package.contains("usr/bin/laneway"), "{in_package:?}");
    // Whose code is in the binary is owed to be said, in their own words.
    let mut notices = Command::new("tar");
    notices.args([
        "--extract",
        "--to-stdout",
        "--wildcards",
        "*/doc/laneway/THIRD-PARTY",
        "--file",
    ]);
    let notices = said(notices.arg(package(".tar.gz")?))?;
    for words in
        ["\ntokio 1", "\nrustls 0", "Permission is hereby granted", "Permission to use, copy"]
    {
        assert!(notices.contains(words), "{words}: {} bytes", notices.len());
    }
    let version = said(Command::new("dpkg-deb").arg("-f").arg(package(".deb")?).arg("Version"))?;
    assert_eq!(version.trim(), env!("CARGO_PKG_VERSION").replacen('-', "~", 1));
    Ok(())
}

#[test]
fn settings_outlive_an_upgrade_and_secrets_do_not_outlive_a_purge() -> Result<()> {
    if !needs("packages") {
        return Ok(());
    }
    let system = System::installed()?;
    let at = |name: &str| system.root().join("etc/laneway").join(name);
    let token = fs::read_to_string(at("join-token"))?;
    assert!(token.len() == 64 && token.bytes().all(|it| it.is_ascii_hexdigit()), "{token}");
    assert_eq!(fs::metadata(at("join-token"))?.permissions().mode() & 0o777, 0o600);
    let other = System::installed()?;
    assert_ne!(token, fs::read_to_string(other.root().join("etc/laneway/join-token"))?);

    fs::write(at("gateway.env"), "LANEWAY_CONTROL=10.0.0.1:7601\n")?;
    fs::write(at("sidecar-orders.env"), "LANEWAY_CONTROL=10.0.0.1:7601\n")?;
    system.dpkg(&["--install", &package(".deb")?.to_string_lossy()])?;
    assert_eq!(fs::read_to_string(at("gateway.env"))?, "LANEWAY_CONTROL=10.0.0.1:7601\n");
    assert_eq!(fs::read_to_string(at("join-token"))?, token);

    let state = system.root().join("var/lib/private/laneway/control");
    fs::create_dir_all(&state)?;
    system.dpkg(&["--remove", "laneway"])?;
    assert!(!system.root().join("usr/bin/laneway").exists());
    assert!(at("gateway.env").exists() && at("join-token").exists() && state.exists());
    system.dpkg(&["--purge", "laneway"])?;
    assert!(!at("gateway.env").exists() && !at("join-token").exists() && !state.exists());
    assert!(at("sidecar-orders.env").exists(), "whoever wrote it may want it");
    Ok(())
}

#[test]
fn the_socket_and_the_setting_name_the_same_address() -> Result<()> {
    if !needs("packages") {
        return Ok(());
    }
    let system = System::installed()?;
    let read = |name: &str| fs::read_to_string(system.root().join(name));
    let said = |text: &str, key: &str| -> Option<String> {
        text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned)
    };
    let socket = read(&format!("{}/laneway-gateway.socket", unit::UNITS))?;
    let setting = read("etc/laneway/gateway.env")?;
    let listen = said(&setting, "LANEWAY_GATEWAY_LISTEN=");
    assert!(listen.is_some(), "{setting}");
    assert_eq!(said(&socket, "ListenStream="), listen);
    Ok(())
}

#[test]
fn no_service_is_given_up_by_the_number_of_its_starts() -> Result<()> {
    if !needs("packages") {
        return Ok(());
    }
    let system = System::installed()?;
    for name in SERVICES {
        let text = fs::read_to_string(system.root().join(unit::UNITS).join(name))?;
        let (of_unit, of_service) = text.split_once("[Service]").context(name)?;
        // systemd reads it in this section alone, and gives up after five starts within 10 s without.
        assert!(of_unit.lines().any(|line| line == "StartLimitIntervalSec=0"), "{name}");
        assert!(of_service.lines().any(|line| line == "Restart=always"), "{name}");
    }
    Ok(())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units_and_little_that_they_may_do() -> Result<()> {
    if !needs("packages") {
        return Ok(());
    }
    let system = System::installed()?;
    let services = |command: &mut Command, root: &Path| {
        command.args(SERVICES.map(|name| root.join(unit::UNITS).join(name)));
    };
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]);
    // It looks for programs on the system it runs on.
    let ours = system.root().join("here");
    fs::create_dir_all(ours.join(unit::UNITS))?;
    for name in SERVICES.into_iter().chain([SOCKET]) {
        let text = fs::read_to_string(system.root().join(unit::UNITS).join(name))?;
        let program = system.root().join("usr/bin/laneway");
        let text = text.replace("/usr/bin/laneway", &program.to_string_lossy());
        fs::write(ours.join(unit::UNITS).join(name), text)?;
    }
    services(&mut verify, &ours);
    verify.arg(ours.join(unit::UNITS).join(SOCKET));
    said(&mut verify)?;
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX]);
    services(&mut security, system.root());
    said(&mut security)?;
    Ok(())
}
