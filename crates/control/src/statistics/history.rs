//! Statistics on disk: a database of their own, because losing them harms nobody and the store's must wait for no figure.
//!
//! Written by one thread, some rows in one transaction every ten seconds; a crash loses what has not been written yet, and
//! spoils nothing (write-ahead log). Read by connections of whoever asks.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Transaction, params};

use super::{
    recent::{Frame, SECONDS_MAX},
    series::{Labels, Outcome, Role, TIERS},
};

/// The file beside the store.
pub(crate) const FILE: &str = "statistics.db";

/// Marks the file as ours (`PRAGMA application_id`): "LANS" in ASCII.
const APPLICATION_ID: i64 = 0x4C41_4E53;

/// Another format is not read: it begins anew.
const FORMAT: i64 = 1;

/// How long spans of each tier are kept: seconds in memory and here, ten seconds for a day, five minutes for 30 days.
pub(crate) const KEPT_SECONDS: [u64; TIERS.len()] = [SECONDS_MAX, 24 * 3_600, 30 * 24 * 3_600];

/// Bytes on disk; of more, half of the time that is kept is forgotten, then looked again. A day of 1 000 series takes 350 MB.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Writes over which what is too old is looked for, series by series: five minutes, so that none of them takes long.
const SWEPT_IN_WRITES: usize = 30;

/// Writes that may wait for the disk: half a minute. What comes meanwhile is not kept.
const WAITING_MAX: usize = 4;

const SCHEMA: &str = "
    CREATE TABLE series (
        number      INTEGER PRIMARY KEY,
        role        INTEGER NOT NULL,
        teller      TEXT    NOT NULL,
        application TEXT    NOT NULL,
        service     TEXT    NOT NULL,
        route       TEXT    NOT NULL,
        lane_group  TEXT    NOT NULL,
        lane        TEXT    NOT NULL,
        outcome     INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE spans (
        tier   INTEGER NOT NULL,
        series INTEGER NOT NULL,
        time   INTEGER NOT NULL,
        cell   BLOB    NOT NULL,
        PRIMARY KEY (tier, series, time)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE seconds (
        time        INTEGER PRIMARY KEY,
        data_planes INTEGER NOT NULL,
        cells       BLOB    NOT NULL
    ) STRICT;
    -- When anything was recorded, and of how many data planes.
    CREATE TABLE recorded (
        tier        INTEGER NOT NULL,
        time        INTEGER NOT NULL,
        data_planes INTEGER NOT NULL,
        PRIMARY KEY (tier, time)
    ) STRICT, WITHOUT ROWID;
";

/// What is written at once.
#[derive(Debug, Default)]
pub(crate) struct Write {
    /// Series that are not on disk yet.
    pub(crate) series: Vec<(u32, Arc<Labels>)>,
    pub(crate) seconds: Vec<Arc<Frame>>,
    pub(crate) spans: Vec<Spans>,
    /// The time it is; what is too old goes.
    pub(crate) now: u64,
}

/// A span of time of one tier, with what was counted of each series.
#[derive(Debug)]
pub(crate) struct Spans {
    /// Its place in [`TIERS`].
    pub(crate) tier: usize,
    /// Its first second.
    pub(crate) time: u64,
    pub(crate) data_planes: u32,
    pub(crate) cells: Vec<(u32, Vec<u8>)>,
}

/// What was kept of before a restart.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The least number that no series has had.
    pub(crate) next: u32,
    /// Those that anything below is of.
    pub(crate) series: Vec<(u32, Labels)>,
    pub(crate) seconds: Vec<Frame>,
    /// Spans that were still open.
    pub(crate) open: Vec<Spans>,
}

/// The thread that writes, and where others read.
#[derive(Debug)]
pub(crate) struct History {
    path: PathBuf,
    writes: Mutex<Option<mpsc::SyncSender<Write>>>,
    /// Something was not written.
    has_lost: Arc<AtomicBool>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl History {
    /// Opens the database, or begins a new one where there is none that can be read. Figures are no reason not to start:
    /// where none can be kept, none are, and that is told.
    pub(crate) fn open(directory: &Path, now: u64) -> (Self, Kept) {
        let path = directory.join(FILE);
        let opened = open(&path).and_then(|connection| {
            let kept = read_kept(&connection, now)?;
            Ok((connection, kept))
        });
        let opened = opened.or_else(|error| {
            tracing::warn!(%error, file = %path.display(), "the history of statistics cannot be read; it begins anew, the old one is beside it");
            set_aside(&path);
            open(&path).map(|connection| (connection, Kept::default()))
        });
        let (connection, kept) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(%error, file = %path.display(), "statistics are not kept on disk");
                return (Self::new(path, None, Arc::default(), None), Kept::default());
            }
        };
        let (writes, waiting) = mpsc::sync_channel(WAITING_MAX);
        let has_lost = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&has_lost);
        let writer = std::thread::Builder::new()
            .name("statistics".to_owned())
            .spawn(move || {
                let mut writer = Writer::new(connection, BYTES_MAX);
                while let Ok(write) = waiting.recv() {
                    if let Err(error) = writer.write(&write) {
                        tracing::warn!(%error, "statistics could not be written");
                        lost.store(true, Ordering::Relaxed);
                    }
                }
            })
            .inspect_err(|error| tracing::error!(%error, "statistics are not kept on disk"))
            .ok();
        let writes = writer.is_some().then_some(writes);
        (Self::new(path, writes, has_lost, writer), kept)
    }

    fn new(
        path: PathBuf,
        writes: Option<mpsc::SyncSender<Write>>,
        has_lost: Arc<AtomicBool>,
        writer: Option<std::thread::JoinHandle<()>>,
    ) -> Self {
        Self { path, writes: Mutex::new(writes), has_lost, writer: Mutex::new(writer) }
    }

    /// Hands over what is to be written, where the disk is not far behind. Whether it will be.
    pub(crate) fn write(&self, write: Write) -> bool {
        let writes = self.writes.lock();
        let Some(writes) = &*writes else { return true };
        let is_taken = writes.try_send(write).is_ok();
        if !is_taken {
            self.has_lost.store(true, Ordering::Relaxed);
        }
        is_taken
    }

    /// Whether something that was to be written was not, since it was asked last: labels in it must be written again.
    pub(crate) fn has_lost_any(&self) -> bool {
        self.has_lost.swap(false, Ordering::Relaxed)
    }

    /// Where spans are read.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl History {
    /// Writes what was handed over, and this at last; then ends. Waits for the disk.
    pub(crate) fn stop(&self, last: Option<Write>) {
        if let Some((writes, last)) = self.writes.lock().take().zip(last) {
            // The thread has told why it ended.
            let _ = writes.send(last);
        }
        let writer = self.writer.lock().take();
        if let Some(Err(_)) = writer.map(std::thread::JoinHandle::join) {
            tracing::error!("the thread that writes statistics has panicked");
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.stop(None);
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let is_new = (pragma("application_id")?, pragma("user_version")?) == (0, 0);
    if is_new {
        connection.execute_batch(SCHEMA)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", FORMAT)?;
    } else if (pragma("application_id")?, pragma("user_version")?) != (APPLICATION_ID, FORMAT) {
        return Err(rusqlite::Error::InvalidQuery);
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A crash of the machine may lose the latest writes; it spoils none.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
    Ok(connection)
}

fn set_aside(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut from = path.as_os_str().to_owned();
        from.push(suffix);
        let mut to = path.as_os_str().to_owned();
        to.push(format!(".unreadable{suffix}"));
        // What is not there need not be moved.
        let _ = fs::rename(from, to);
    }
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

/// All series that are on disk.
pub(crate) fn read_series(connection: &Connection) -> rusqlite::Result<Vec<(u32, Labels)>> {
    let mut statement = connection.prepare(
        "SELECT number, role, teller, application, service, route, lane_group, lane, outcome FROM series",
    )?;
    let mut rows = statement.query([])?;
    let mut series = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |column| row.get::<_, Box<str>>(column);
        // A role of another release: nobody here asks for it.
        let Some(role) = Role::of(row.get(1)?) else { continue };
        let labels = Labels {
            role,
            teller: text(2)?,
            application: text(3)?,
            service: text(4)?,
            route: text(5)?,
            group: text(6)?,
            lane: text(7)?,
            outcome: Outcome::of(row.get(8)?),
        };
        series.push((row.get(0)?, labels));
    }
    Ok(series)
}

fn read_kept(connection: &Connection, now: u64) -> rusqlite::Result<Kept> {
    let mut kept = Kept {
        // Of what has no labels, by some mishap, nobody gets the number.
        next: connection.query_row(
            "SELECT 1 + max((SELECT coalesce(max(number), -1) FROM series),
                            (SELECT coalesce(max(series), -1) FROM spans WHERE tier = 1),
                            (SELECT coalesce(max(series), -1) FROM spans WHERE tier = 2))",
            [],
            |row| row.get(0),
        )?,
        ..Kept::default()
    };
    let mut wanted = HashSet::new();
    let mut statement = connection
        .prepare("SELECT time, data_planes, cells FROM seconds WHERE time > ?1 ORDER BY time")?;
    let mut rows = statement.query([now.saturating_sub(SECONDS_MAX) as i64])?;
    while let Some(row) = rows.next()? {
        let second = row.get::<_, i64>(0)? as u64;
        // Of a clock that was ahead.
        if second > now {
            continue;
        }
        let frame = Frame { second, data_planes: row.get(1)?, cells: row.get(2)? };
        wanted.extend(frame.numbers());
        kept.seconds.push(frame);
    }
    for (tier, length) in TIERS.iter().enumerate().skip(1) {
        let time = now - now % length;
        let cells = read_span(connection, tier, time)?;
        wanted.extend(cells.iter().map(|(number, _)| *number));
        kept.open.push(Spans { tier, time, data_planes: 0, cells });
    }
    let series = read_series(connection)?.into_iter();
    kept.series = series.filter(|(number, _)| wanted.contains(number)).collect();
    Ok(kept)
}

/// What is open of a tier's span: its own row, or for the longest what shorter ones say of it.
fn read_span(
    connection: &Connection,
    tier: usize,
    time: u64,
) -> rusqlite::Result<Vec<(u32, Vec<u8>)>> {
    let shortest = usize::min(tier, 1);
    let mut statement = connection.prepare(
        "SELECT series, cell FROM spans WHERE tier = ?1 AND series IN (SELECT number FROM series) AND time >= ?2 AND time < ?3",
    )?;
    let mut rows =
        statement.query(params![shortest as i64, time as i64, (time + TIERS[tier]) as i64])?;
    let mut cells = Vec::new();
    while let Some(row) = rows.next()? {
        cells.push((row.get(0)?, row.get(1)?));
    }
    Ok(cells)
}

/// Writes, and forgets what is too old or too much.
struct Writer {
    connection: Connection,
    bytes_max: u64,
    /// Which share of the time that is kept otherwise is kept.
    horizon: f64,
    /// Series that are still to be looked at for what is too old, and how many of them with each write.
    sweep: Vec<u32>,
    portion: usize,
}

impl Writer {
    fn new(connection: Connection, bytes_max: u64) -> Self {
        Self { connection, bytes_max, horizon: 1.0, sweep: Vec::new(), portion: 0 }
    }

    fn write(&mut self, write: &Write) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        keep(&transaction, write)?;
        transaction.commit()?;
        // What was kept is kept, whatever becomes of the rest.
        if let Err(error) = self.forget(write.now) {
            tracing::warn!(%error, "old statistics could not be removed");
        }
        Ok(())
    }

    /// Forgets what is older than it may be, of some series; when all were looked at, sees whether that is enough.
    fn forget(&mut self, now: u64) -> rusqlite::Result<()> {
        if self.sweep.is_empty() {
            if self.portion > 0 {
                self.look_at_size()?;
            }
            let mut statement = self.connection.prepare_cached("SELECT number FROM series")?;
            self.sweep = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            self.portion = self.sweep.len().div_ceil(SWEPT_IN_WRITES).max(1);
        }
        let horizon = self.horizon;
        let oldest =
            |tier: usize| now.saturating_sub((KEPT_SECONDS[tier] as f64 * horizon) as u64) as i64;
        let rest = self.sweep.len().saturating_sub(self.portion);
        let portion = self.sweep.split_off(rest);
        let transaction = self.connection.transaction()?;
        transaction.prepare_cached("DELETE FROM seconds WHERE time < ?1")?.execute([oldest(0)])?;
        for tier in 1..TIERS.len() {
            let mut spans = transaction.prepare_cached(
                "DELETE FROM spans WHERE tier = ?1 AND series = ?2 AND time < ?3",
            )?;
            for number in &portion {
                spans.execute(params![tier as i64, number, oldest(tier)])?;
            }
            transaction
                .prepare_cached("DELETE FROM recorded WHERE tier = ?1 AND time < ?2")?
                .execute(params![tier as i64, oldest(tier)])?;
        }
        // A series that nothing is kept of; the newest stays, so that its number is not given again.
        let mut series = transaction.prepare_cached(
            "DELETE FROM series WHERE number = ?1 AND number < (SELECT max(number) FROM series)
             AND NOT EXISTS (SELECT 1 FROM spans WHERE tier = 1 AND series = ?1)
             AND NOT EXISTS (SELECT 1 FROM spans WHERE tier = 2 AND series = ?1)",
        )?;
        for number in &portion {
            series.execute([number])?;
        }
        drop(series);
        transaction.commit()
    }

    /// After a whole round: keeps half of the time if it is too much, and twice if it is little.
    fn look_at_size(&mut self) -> rusqlite::Result<()> {
        let bytes = size(&self.connection)?;
        if bytes > self.bytes_max {
            self.horizon /= 2.0;
            tracing::warn!(
                bytes,
                kept = format!("{:.1} %", self.horizon * 100.0),
                "the history of statistics is too large; less of the past is kept"
            );
        } else if bytes < self.bytes_max / 4 {
            self.horizon = f64::min(self.horizon * 2.0, 1.0);
        }
        Ok(())
    }
}

/// Bytes in use; what is free is used again.
fn size(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok(((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?) as u64)
}

fn keep(transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    let mut series = transaction.prepare_cached(
        "INSERT OR REPLACE INTO series VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for (number, it) in &write.series {
        series.execute(params![
            number,
            it.role as u8,
            it.teller,
            it.application,
            it.service,
            it.route,
            it.group,
            it.lane,
            it.outcome as u8
        ])?;
    }
    let mut seconds =
        transaction.prepare_cached("INSERT OR REPLACE INTO seconds VALUES (?1, ?2, ?3)")?;
    for frame in &write.seconds {
        seconds.execute(params![frame.second as i64, frame.data_planes, frame.cells])?;
    }
    let mut span =
        transaction.prepare_cached("INSERT OR REPLACE INTO spans VALUES (?1, ?2, ?3, ?4)")?;
    let mut recorded =
        transaction.prepare_cached("INSERT OR REPLACE INTO recorded VALUES (?1, ?2, ?3)")?;
    for Spans { tier, time, data_planes, cells } in &write.spans {
        recorded.execute(params![*tier as i64, *time as i64, data_planes])?;
        for (number, cell) in cells {
            span.execute(params![*tier as i64, number, *time as i64, cell])?;
        }
    }
    Ok(())
}

/// Gives every span of some series within a time to `take`, with when it began.
pub(crate) fn read_spans(
    connection: &Connection,
    tier: usize,
    series: impl IntoIterator<Item = u32>,
    (from, until): (u64, u64),
    mut take: impl FnMut(u64, u32, &[u8]),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT time, cell FROM spans WHERE tier = ?1 AND series = ?2 AND time >= ?3 AND time < ?4",
    )?;
    for number in series {
        let mut rows = statement.query(params![tier as i64, number, from as i64, until as i64])?;
        while let Some(row) = rows.next()? {
            take(row.get::<_, i64>(0)? as u64, number, row.get_ref(1)?.as_blob()?);
        }
    }
    Ok(())
}

/// When anything was recorded within a time, and of how many data planes.
pub(crate) fn read_recorded(
    connection: &Connection,
    tier: usize,
    (from, until): (u64, u64),
) -> rusqlite::Result<Vec<(u64, u32)>> {
    let mut statement = connection.prepare(
        "SELECT time, data_planes FROM recorded WHERE tier = ?1 AND time >= ?2 AND time < ?3 ORDER BY time",
    )?;
    let rows = statement.query_map(params![tier as i64, from as i64, until as i64], |row| {
        Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(service: u32) -> Arc<Labels> {
        Arc::new(Labels {
            role: Role::Inbound,
            teller: "a".into(),
            application: "a".into(),
            service: service.to_string().into(),
            route: Box::default(),
            group: Box::default(),
            lane: Box::default(),
            outcome: Outcome::Base,
        })
    }

    /// One write of so many busy series, whose cells take so many bytes.
    fn busy(series: u32, time: u64, with_labels: bool) -> Write {
        let cells = (0..series).map(|number| (number, vec![7; 100])).collect();
        let labels = (0..series).map(|number| (number, labels(number)));
        Write {
            series: if with_labels { labels.collect() } else { Vec::new() },
            spans: vec![Spans { tier: 1, time, data_planes: 1, cells }],
            now: time + 10,
            ..Write::default()
        }
    }

    #[test]
    fn of_too_much_half_is_forgotten_and_not_nearly_all() {
        const BYTES_MAX: u64 = 512 * 1024;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let mut writer = Writer::new(open(&path).unwrap(), BYTES_MAX);
        let mut most = 0;
        for number in 0..1_000 {
            writer.write(&busy(40, 1_000_000 + number * 10, number == 0)).unwrap();
            let size = size(&writer.connection).unwrap();
            most = most.max(size);
            // From when there is much on, something near it stays.
            assert!(most < BYTES_MAX || size > BYTES_MAX / 8, "{size} bytes after {number} writes");
        }
        assert!((BYTES_MAX..BYTES_MAX * 3).contains(&most), "{most} bytes");
    }

    #[test]
    fn numbers_of_what_lost_its_labels_are_not_given_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let mut writer = Writer::new(open(&path).unwrap(), BYTES_MAX);
        writer.write(&busy(5, 1_000_000, false)).unwrap();
        let (_history, kept) = History::open(directory.path(), 1_000_020);
        assert_eq!(kept.next, 5);
    }

    #[test]
    fn labels_that_were_not_written_are_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let (history, _) = History::open(directory.path(), 1_000_000);
        // The writer does not come along, so that its queue is full.
        let blocking = open(&directory.path().join(FILE)).unwrap();
        blocking.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut is_lost = false;
        for _ in 0..WAITING_MAX + 3 {
            is_lost |= !history.write(busy(1, 1_000_000, true));
        }
        assert!(is_lost && history.has_lost_any() && !history.has_lost_any());
        blocking.execute_batch("COMMIT").unwrap();
    }
}
