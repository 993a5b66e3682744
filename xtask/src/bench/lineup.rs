//! Who takes part in a column, and how each is started.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{
    Bench,
    column::Load,
    contender::{Contender, DIRECT, FLOOR, LANEWAY},
    door::{Door, Way},
    laneway::{self, Listeners},
    peers,
};

/// Starts a contender for a way in a folder of its own. Why not, where it is not installed or has no such way.
pub(super) fn begin(name: &'static str, way: Way, bench: &Bench) -> Result<Contender> {
    let home = bench.folder(name)?;
    match (name, way) {
        (DIRECT, _) => Ok(Contender {
            name: DIRECT,
            version: "`bench/src/bin/upstream.rs`".to_owned(),
            doors: vec![(Door::Clear, bench.upstream.clone())],
            processes: Vec::new(),
            beside: Vec::new(),
        }),
        (LANEWAY, Way::Gateway) => laneway::gateway(LANEWAY, &bench.laneway, bench, Listeners::All),
        (LANEWAY, Way::Mesh) => laneway::mesh(bench, &home),
        (_, Way::Gateway) => peer(name, bench, &home, &bench.upstream, way),
        (_, Way::Mesh) => {
            let inner = peer(name, bench, &home, &bench.upstream, way)?;
            let upstream = inner.address(Door::Clear).context("a door in the clear")?.to_owned();
            let mut outer = peer(name, bench, &bench.folder(name)?, &upstream, way)?;
            outer.processes.extend(inner.processes);
            Ok(outer)
        }
    }
}

/// Whether a contender has anything to say in a column of this load and way.
pub(super) fn takes_part(name: &str, way: Way, load: Load) -> bool {
    match name {
        DIRECT => load == Load::OpenLoop && way == Way::Gateway,
        // Two sockets for each caller are more than a process may have.
        FLOOR => !matches!(load, Load::Idle(_)),
        _ => true,
    }
}

fn peer(name: &str, bench: &Bench, home: &Path, upstream: &str, way: Way) -> Result<Contender> {
    let doors = peers::doors(way)?;
    match name {
        FLOOR => peers::floor(bench, home, upstream),
        "nginx" => peers::nginx(bench, home, upstream, doors),
        "haproxy" => peers::haproxy(bench, home, upstream, doors),
        "envoy" => peers::envoy(bench, home, upstream, doors),
        other => bail!("`{other}` is no contender"),
    }
}
