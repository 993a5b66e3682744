//! Floods of handshakes in TLS on a real gateway, whole ones and such as stop half way: what others notice of them.

use std::{
    io::Write as _,
    net::TcpStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use testkit::wait::Beat;

use crate::{
    SOON, answers,
    attacks::{self, ATTACKED_FOR, application, gateway, others, quiet, slack},
    https::{self, FIXTURES},
    sandbox,
};

/// Attackers at a time; each begins so many handshakes at once, so often. With what it costs a client that is hundreds of
/// signatures a second.
const ATTACKERS: usize = 2;
const AT_ONCE: usize = 20;
const EVERY: Duration = Duration::from_millis(100);

/// How far a client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    /// Until both sides agree.
    Through,
    /// It says hello, and nothing more for as long as anybody listens.
    HalfWay,
}

fn client() -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(format!("{FIXTURES}/root.crt"))?)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A resumed handshake costs nobody a signature.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Many connections at once that say hello. How many handshakes came to what they were to come to.
fn burst(
    address: &str,
    config: &Arc<ClientConfig>,
    goes: Goes,
    kept: &mut Vec<TcpStream>,
) -> Result<u64> {
    let mut begun = Vec::new();
    for _ in 0..AT_ONCE {
        let side = ClientConnection::new(config.clone(), ServerName::try_from("leaf.example")?)?;
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SOON))?;
        begun.push((side, stream));
    }
    for (side, stream) in &mut begun {
        let mut hello = Vec::new();
        side.write_tls(&mut hello)?;
        stream.write_all(&hello)?;
    }
    let count = begun.len() as u64;
    for (mut side, mut stream) in begun {
        match goes {
            Goes::Through => {
                while side.is_handshaking() {
                    side.complete_io(&mut stream)?;
                }
            }
            Goes::HalfWay => kept.push(stream),
        }
    }
    Ok(count)
}

/// A flood, for as long as attacks take: how many handshakes.
fn flood(address: &str, goes: Goes) -> Result<u64> {
    let config = Arc::new(client()?);
    let attacker = || {
        let (began, mut turns) = (Instant::now(), Beat::every(EVERY));
        let (mut count, mut kept) = (0, Vec::new());
        while began.elapsed() < ATTACKED_FOR {
            count += burst(address, &config, goes, &mut kept)?;
            turns.wait();
        }
        Ok(count)
    };
    thread::scope(|scope| {
        let attackers = [(); ATTACKERS].map(|()| scope.spawn(attacker));
        attackers.into_iter().try_fold(0, |count, attacker| {
            let theirs: Result<u64> =
                attacker.join().map_err(|_| anyhow::anyhow!("an attacker panicked"))?;
            Ok(count + theirs?)
        })
    })
}

#[test]
#[allow(clippy::print_stderr, reason = "figures are for people")]
fn floods_of_handshakes_hinder_nobody() -> Result<()> {
    let sandbox = sandbox()?;
    let _applications = [application(&sandbox, "C", 3)?, application(&sandbox, "D", 4)?];
    let _control = sandbox.control(&[])?;
    https::add_certificate(&sandbox)?;
    sandbox.apply(&attacks::resources(&sandbox, https::GATEWAY))?;
    let _gateway = gateway(&sandbox)?;
    let (plain, secured) = (sandbox.gateway_address(), sandbox.endpoint(1, 8443));
    answers(&plain, "/d", 200, "D[")?;
    answers(&secured, "/d", 400, "this port speaks TLS")?;
    others(&plain, quiet)?;
    for goes in [Goes::Through, Goes::HalfWay] {
        let (before, _) = others(&plain, quiet)?;
        let (took, count) = others(&plain, || flood(&secured, goes))?;
        eprintln!("{count} handshakes, {goes:?}: others {took:?} instead of {before:?}");
        ensure!(count >= (ATTACKERS * AT_ONCE) as u64, "no flood: {count}");
        ensure!(took < before * 2 + slack(), "{goes:?}: {took:?}, not {before:?}");
    }
    Ok(())
}
