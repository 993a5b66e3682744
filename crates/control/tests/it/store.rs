//! The store: what it keeps through restarts, what it refuses, and that it does what a simple model does.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::SystemTime};

use api::{
    discovery::v1,
    resource::{CreationOrder, Key, Kind, Object},
    rest::Event,
    validate::Reported,
};
use control::{
    AuditQuery, AuditReader, Change, Contents, Edit, Keyring, Ledger, Objects, Precondition,
    Rejection, Revision, Rules, SqliteStore, Store, StoreError, StoredAuthority, StoredObject,
    Transaction, default_gateway,
};
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use crate::harness::{PATIENCE, backend, group, lane};

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).unwrap()
}

fn contents(path: &Path) -> Contents {
    open(path).load().unwrap()
}

fn objects(contents: &Contents) -> Arc<Objects> {
    Arc::new(Objects::new(default_gateway(8000), contents.objects.iter().cloned().map(Arc::new)))
}

fn ledger(path: &Path) -> Ledger {
    let mut store = open(path);
    let contents = store.load().unwrap();
    Ledger::start(store, &contents, rules(path, &contents)).unwrap()
}

fn rules(path: &Path, contents: &Contents) -> Rules {
    Rules {
        objects: objects(contents),
        keyring: Arc::new(Keyring::new(path.with_file_name("laneway.key"), true)),
        check: Box::new(|_, _| Vec::new()),
        reported: Box::new(Arc::<Reported>::default),
        on_commit: Box::new(|_| {}),
    }
}

fn put(value: &serde_json::Value) -> Edit {
    Edit::Put {
        object: Box::new(Object::from_value(value.clone()).unwrap()),
        precondition: Precondition::None,
    }
}

fn transaction(edits: Vec<Edit>) -> Transaction {
    Transaction { edits, ..Transaction::default() }
}

#[test]
fn a_store_of_a_newer_release_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.db");
    drop(open(&path));
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 11).unwrap();
    drop(raw);
    let before = std::fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 11, supported: 10, .. }), "{error}");
    assert!(error.to_string().contains("start the release that wrote it"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.db");
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("CREATE TABLE theirs (a INTEGER)").unwrap();
    drop(raw);
    assert!(matches!(SqliteStore::open(&path).unwrap_err(), StoreError::Foreign { .. }));
}

/// The first format, as it was released: every later release reads it.
#[test]
fn the_first_format_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.db");
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch(include_str!("../fixtures/v1.sql")).unwrap();
    drop(raw);
    let contents = contents(&path);
    let keys: Vec<String> =
        contents.objects.iter().map(|stored| stored.object.key().to_string()).collect();
    assert_eq!(keys, ["LaneGroup trade", "Lane trade-gray"]);
    let gray = &contents.objects[1];
    assert_eq!((gray.revision.to_string(), gray.created.0), ("5".to_owned(), 2));
    let metadata = gray.object.metadata();
    assert_eq!((metadata.generation, metadata.resource_version.as_deref()), (2, Some("5")));
    assert_eq!(metadata.uid.as_deref(), Some("0191a2b3-0000-4000-8000-000000000002"));
    assert_eq!(contents.revision.to_string(), "6");
    assert_eq!((contents.created.0, contents.generation_ceiling), (3, 10001));
    assert_eq!(contents.epoch, "0191a2b3-0000-4000-8000-00000000000e");
    let (node, instance) = &contents.registrations[0];
    let instance = v1::Instance::decode(instance.as_slice()).unwrap();
    assert_eq!((node.as_str(), instance.address.as_str()), ("node-1", "127.0.0.11:15006"));
    assert_eq!(contents.unreadable.len(), 1);
    assert!(contents.unreadable[0].name.contains("lost"), "{:?}", contents.unreadable);
}

/// Bytes of one row that change cost that row, whatever they were.
#[test]
fn a_spoilt_row_is_left_out_and_no_other() {
    let spoil = [
        "body = replace(body, 'app-a', 'app-b')",
        "body = CAST(X'7bff7d' AS TEXT)",
        "name = 'tradf'",
        "kind = 'LaneGrouq'",
        "revision = 77",
        "said = 'x'",
        "checksum = 0",
    ];
    for change in spoil {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("laneway.db");
        let stored = |value: serde_json::Value, number: u64| {
            Change::Put(Arc::new(StoredObject {
                object: Arc::new(Object::from_value(value).unwrap()),
                revision: Revision::parse(&number.to_string()).unwrap(),
                created: CreationOrder(number),
                said: None,
            }))
        };
        let register = |node: &str| Change::Register { node: node.to_owned(), instance: vec![10] };
        open(&path)
            .commit(&[
                stored(group("trade", &["app-a"]), 1),
                stored(backend("b", "sc-b"), 2),
                register("one"),
                register("two"),
            ])
            .unwrap();
        let raw = rusqlite::Connection::open(&path).unwrap();
        let statement = format!("UPDATE objects SET {change} WHERE kind = 'LaneGroup'");
        assert_eq!(raw.execute(&statement, []).unwrap(), 1);
        raw.execute("UPDATE registrations SET instance = X'0b' WHERE node = 'one'", []).unwrap();
        drop(raw);
        let contents = contents(&path);
        let [unreadable] = contents.unreadable.as_slice() else { panic!("{change}: {contents:?}") };
        let trade = Key::new(Kind::LaneGroup, "default", "trade");
        assert!(unreadable.keys.contains(&trade), "{change}: {unreadable:?}");
        assert_eq!(contents.objects[0].object.key().name, "b", "{change}");
        assert_eq!(contents.registrations, [("two".to_owned(), vec![10])]);
        assert_eq!(contents.spoilt_registrations, ["one"]);
    }
}

#[test]
fn what_happened_is_kept_as_far_as_it_is_recent_and_readable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.db");
    let noted = |numbers: std::ops::RangeInclusive<u64>, time: &str| {
        let event = |number| Event {
            number,
            time: time.to_owned(),
            about: format!("Lane {number}"),
            ..Event::default()
        };
        Change::Note(numbers.map(event).collect())
    };
    let mut store = open(&path);
    store.commit(&[noted(1..=2, "2020-01-01T00:00:00Z")]).unwrap();
    assert_eq!(store.load().unwrap().events, [], "years ago");
    let soon = "2999-01-01T00:00:00Z";
    store.commit(&[noted(3..=3_000, soon)]).unwrap();
    store.commit(&[noted(3_001..=3_010, soon)]).unwrap();
    drop(store);
    let raw = rusqlite::Connection::open(&path).unwrap();
    let spoil = "UPDATE events SET event = replace(event, 'Lane', 'Lame') WHERE number = 3000";
    assert_eq!(raw.execute(spoil, []).unwrap(), 1);
    drop(raw);
    let events = contents(&path).events;
    let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
    let kept: Vec<u64> = (963..=3_010).filter(|number| *number != 3_000).collect();
    assert_eq!(numbers, kept, "2 048 of them, but the spoilt one");
    assert_eq!(events[0].about, "Lane 963");
}

#[test]
fn a_batch_that_fails_leaves_nothing_of_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.db");
    let mut store = open(&path);
    // The journal of writes cannot take a second object of one place in the order of creation.
    let stored = |name: &str| {
        let object = Object::from_value(group(name, &["a"])).unwrap();
        let revision = Revision::parse("1").unwrap();
        Change::Put(Arc::new(StoredObject {
            object: Arc::new(object),
            revision,
            created: CreationOrder(1),
            said: Some("{}".into()),
        }))
    };
    store.commit(&[stored("one"), stored("two")]).unwrap_err();
    assert!(store.load().unwrap().objects.is_empty());
    store.commit(&[stored("two")]).unwrap();
    assert_eq!(store.load().unwrap().objects.len(), 1);
}

#[test]
fn a_backup_is_complete_and_has_a_history_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("laneway.db"), directory.path().join("copy.db"));
    let mut store = open(&path);
    let object = Object::from_value(group("trade", &["a"])).unwrap();
    let revision = Revision::parse("4").unwrap();
    let stored =
        StoredObject { object: Arc::new(object), revision, created: CreationOrder(1), said: None };
    store.commit(&[Change::Put(Arc::new(stored))]).unwrap();
    store.backup_to(&copy).unwrap();
    let (original, copied) = (store.load().unwrap(), contents(&copy));
    assert_eq!(original.objects, copied.objects);
    assert_eq!(original.revision, copied.revision);
    assert_ne!(original.epoch, copied.epoch);
    assert!(matches!(store.backup_to(&copy).unwrap_err(), StoreError::BackupExists { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_at_the_same_time_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.db");
    let ledger = Arc::new(ledger(&path));
    let writes = (0..100).map(|index| {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move {
            let edits = vec![put(&backend(&format!("backend-{index}"), "sc-a"))];
            let done = ledger.transact(transaction(edits), SystemTime::now()).await.unwrap();
            done.objects[0].revision
        })
    });
    let mut revisions = Vec::new();
    for write in writes.collect::<Vec<_>>() {
        revisions.push(write.await.unwrap());
    }
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), 100, "every write has a revision of its own");
    assert_eq!(contents(&path).objects.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_read_the_same_one_writes() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = ledger(&directory.path().join("laneway.db"));
    let write = async |value: &serde_json::Value| {
        ledger.transact(transaction(vec![put(value)]), SystemTime::now()).await
    };
    let done = write(&group("trade", &["a"])).await.unwrap();
    let mut read = done.objects[0].object.to_value();
    read["spec"]["applications"] = json!(["a", "b"]);
    write(&read).await.unwrap();
    read["spec"]["applications"] = json!(["a", "c"]);
    let lost = write(&read).await.unwrap_err();
    let Rejection::Conflict { given, current, .. } = lost else { panic!("{lost}") };
    assert_eq!((given.as_str(), current.as_str()), ("1", "2"));
}

/// A store whose disk hangs until it is told not to.
struct Hanging {
    store: SqliteStore,
    hangs: std::sync::mpsc::Sender<()>,
    goes_on: std::sync::mpsc::Receiver<()>,
}

impl Store for Hanging {
    fn load(&mut self) -> Result<Contents, StoreError> {
        self.store.load()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.hangs.send(()).unwrap();
        self.goes_on.recv().unwrap();
        self.store.commit(changes)
    }

    fn audit(&self) -> AuditReader {
        self.store.audit()
    }

    fn close(self) -> Result<(), StoreError> {
        self.store.close()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_the_audit_waits_for_no_writer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.db");
    let (hangs, is_hanging) = std::sync::mpsc::channel();
    let (go_on, goes_on) = std::sync::mpsc::channel();
    let mut store = Hanging { store: open(&path), hangs, goes_on };
    let contents = store.load().unwrap();
    let ledger = Arc::new(Ledger::start(store, &contents, rules(&path, &contents)).unwrap());
    let write = |name: &'static str| {
        let ledger = Arc::clone(&ledger);
        let edits = vec![put(&group(name, &["a"]))];
        tokio::spawn(async move { ledger.transact(transaction(edits), SystemTime::now()).await })
    };
    let query = || AuditQuery { limit: 10, ..AuditQuery::default() };
    let first = write("trade");
    is_hanging.recv_timeout(PATIENCE).unwrap();
    go_on.send(()).unwrap();
    first.await.unwrap().unwrap();
    let second = write("pay");
    is_hanging.recv_timeout(PATIENCE).unwrap();
    let read = tokio::time::timeout(PATIENCE, ledger.audit(query())).await;
    let read = read.expect("it waits for the writer").unwrap();
    assert_eq!(read.len(), 1, "what is answered is there, what is not is not: {read:?}");
    assert_eq!(read[0].about, "LaneGroup trade");
    go_on.send(()).unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(ledger.audit(query()).await.unwrap().len(), 2);
}

/// A store whose disk is full every other time.
struct Full {
    store: SqliteStore,
    is_full: bool,
}

impl Store for Full {
    fn load(&mut self) -> Result<Contents, StoreError> {
        self.store.load()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.is_full = !self.is_full;
        if !self.is_full {
            return self.store.commit(changes);
        }
        let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(13), None);
        Err(StoreError::Database { doing: "write", path: "laneway.db".into(), source })
    }

    fn audit(&self) -> AuditReader {
        self.store.audit()
    }

    fn close(self) -> Result<(), StoreError> {
        self.store.close()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_does_not_take_is_refused_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.db");
    let mut store = Full { store: open(&path), is_full: false };
    let contents = store.load().unwrap();
    let told = Arc::new(parking_lot::Mutex::new(0));
    let counter = Arc::clone(&told);
    let on_commit = Box::new(move |commit: control::Commit<'_>| {
        *counter.lock() += commit.changes.len();
    });
    let rules = Rules { on_commit, ..rules(&path, &contents) };
    let ledger = Ledger::start(store, &contents, rules).unwrap();
    let write = async |name: &str| {
        let edits = vec![put(&backend(name, "sc-a"))];
        ledger.transact(transaction(edits), SystemTime::now()).await
    };
    let refused = write("one").await.unwrap_err();
    assert!(matches!(&refused, Rejection::Storage(text) if text.contains("full")), "{refused}");
    assert!(ledger.view().list(Kind::Backend, None).is_empty());
    let done = write("two").await.unwrap();
    assert_eq!(done.revision.to_string(), "1", "the refused write has left no trace");
    assert_eq!(ledger.view().list(Kind::Backend, None).len(), 1);
    assert_eq!(*told.lock(), 1);
}

/// What the store should hold, written down the simple way.
#[derive(Debug, Default, Clone, PartialEq)]
struct Model {
    /// Name → (applications, generation, place in the order of creation).
    groups: BTreeMap<String, (Vec<String>, u64, u64)>,
    created: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    /// A second, wrong object makes the whole of it fail.
    PutWithBad(u8, u8),
    Reopen,
}

impl Model {
    fn put(&mut self, name: &str, applications: &[String]) {
        match self.groups.get_mut(name) {
            Some((old, generation, _)) if old != applications => {
                *generation += 1;
                *old = applications.to_vec();
            }
            Some(_) => {}
            None => {
                self.created += 1;
                self.groups.insert(name.to_owned(), (applications.to_vec(), 1, self.created));
            }
        }
    }
}

fn seen(
    objects: impl Iterator<Item = (Arc<Object>, u64)>,
) -> BTreeMap<String, (Vec<String>, u64, u64)> {
    objects
        .map(|(object, created)| {
            let generation = object.metadata().generation;
            let Object::LaneGroup(group) = &*object else { panic!("{object:?}") };
            (group.metadata.name.clone(), (group.spec.applications.clone(), generation, created))
        })
        .collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5u8, 0..3u8).prop_map(|(name, applications)| Step::Put(name, applications)),
        2 => (0..5u8).prop_map(Step::Delete),
        1 => (0..5u8, 0..3u8).prop_map(|(name, applications)| Step::PutWithBad(name, applications)),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("laneway.db");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut model = Model::default();
        let mut ledger = Some(ledger(&path));
        let transact = |ledger: &Option<Ledger>, edits| {
            let ledger = ledger.as_ref().unwrap();
            runtime.block_on(ledger.transact(transaction(edits), SystemTime::UNIX_EPOCH))
        };
        for step in steps {
            let applications = |count: u8| (0..count).map(|it| format!("app-{it}")).collect::<Vec<_>>();
            let object = |name: u8, count: u8| {
                let applications = applications(count);
                let texts: Vec<&str> = applications.iter().map(String::as_str).collect();
                put(&group(&format!("group-{name}"), &texts))
            };
            match step {
                Step::Put(name, count) => {
                    transact(&ledger, vec![object(name, count)]).unwrap();
                    model.put(&format!("group-{name}"), &applications(count));
                }
                Step::PutWithBad(name, count) => {
                    let bad = put(&lane("nowhere", "gray"));
                    let rejection = transact(&ledger, vec![object(name, count), bad]).unwrap_err();
                    prop_assert!(matches!(rejection, Rejection::Invalid(_)), "{rejection}");
                }
                Step::Delete(name) => {
                    let name = format!("group-{name}");
                    let key = Key::new(Kind::LaneGroup, "default", name.as_str());
                    let delete = |precondition| Edit::Delete { key: key.clone(), revision: None, precondition };
                    let result = transact(&ledger, vec![delete(Precondition::Present)]);
                    prop_assert_eq!(result.is_ok(), model.groups.remove(&name).is_some());
                    transact(&ledger, vec![delete(Precondition::None)]).unwrap();
                }
                Step::Reopen => {
                    drop(ledger.take());
                    ledger = Some(self::ledger(&path));
                }
            }
            let view = ledger.as_ref().unwrap().view().list(Kind::LaneGroup, None);
            let in_memory = view.iter().map(|stored| (stored.object.clone(), stored.created.0));
            prop_assert_eq!(&seen(in_memory), &model.groups);
        }
        let on_disk = contents(&path).objects.into_iter();
        prop_assert_eq!(&seen(on_disk.map(|stored| (stored.object, stored.created.0))), &model.groups);
    }
}

#[test]
fn authorities_are_in_the_order_they_were_made_whatever_the_clock_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("laneway.db");
    for (fingerprint, created) in [("one", 300), ("another", 100), ("the newest", 200)] {
        let authority = StoredAuthority {
            fingerprint: fingerprint.to_owned(),
            certificate: "a certificate".to_owned(),
            sealed: "a key".to_owned(),
            created,
        };
        open(&path).commit(&[Change::PutAuthority(authority)]).unwrap();
    }
    let kept: Vec<_> = contents(&path).authorities.into_iter().map(|it| it.fingerprint).collect();
    assert_eq!(kept, ["one", "another", "the newest"]);
}
