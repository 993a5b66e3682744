//! What lines say, where they are written, and what becomes of those that are not.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::*;
use crate::{Outcome, Role};

fn config(path: &Path, file_bytes_max: u64, files_max: u32) -> AccessLogConfig {
    AccessLogConfig { path: Some(path.to_owned()), file_bytes_max, files_max }
}

fn record() -> RequestRecord {
    RequestRecord {
        started: SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_883_655_000_900),
        duration: Duration::from_micros(12_345),
        protocol: "HTTP/1.1",
        method: "GET".into(),
        host: "shop.example".into(),
        path: "/a\"b\n".into(),
        status: 200,
        sent_bytes: 17,
        application: "spring-cloud-b".into(),
        service: "sc-B".into(),
        lanes: vec![("trade".into(), "gray".into()), ("ads".into(), String::new())],
        lane_group: "trade".into(),
        lane: "gray".into(),
        outcome: Outcome::Fallback,
        instance: Some("127.0.0.12:8080".parse().unwrap()),
        attempts: 1,
        upstream_duration: Some(Duration::from_millis(10)),
        trace_id: Some([0xab; 16]),
        request_id: "17".into(),
        ..RequestRecord::new(Role::SidecarOutbound, "127.0.0.1".parse().unwrap())
    }
}

fn samples(log: &AccessLog) -> String {
    let mut samples = Samples::new();
    log.sample(&mut samples);
    samples.into_text()
}

/// All lines of a file, each of which must be JSON.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_is_one_object_with_its_fields_in_order() {
    let line = line::of(&record());
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    let line: Value = serde_json::from_slice(&line).unwrap();
    let expected = json!({
        "time": "2026-11-28T16:34:15.000Z",
        "role": "sidecar_outbound",
        "client": "127.0.0.1",
        "protocol": "HTTP/1.1",
        "tls": false,
        "method": "GET",
        "host": "shop.example",
        "path": "/a\"b\n",
        "status": 200,
        "outcome": "fallback",
        "duration_ms": 12.345,
        "received_bytes": 0,
        "sent_bytes": 17,
        "application": "spring-cloud-b",
        "service": "sc-B",
        "lane_group": "trade",
        "lane": "gray",
        "fallback": true,
        "lanes": [{"group": "trade", "lane": "gray"}, {"group": "ads", "lane": ""}],
        "upstream": {"address": "127.0.0.12:8080", "tag": "", "duration_ms": 10.0},
        "attempts": 1,
        "trace_id": "abababababababababababababababab",
        "request_id": "17",
    });
    assert_eq!(line, expected);
}

#[test]
fn every_field_of_a_line_is_in_the_reference_and_no_other() {
    let mut record = record();
    record.forwarded_for = "198.51.100.7, 127.0.0.1".into();
    record.grpc_status = Some(14);
    record.reason = "no usable instance".into();
    record.route = "all".into();
    record.unread = crate::Unread::Part;
    let line: Value = serde_json::from_slice(&line::of(&record)).unwrap();
    let mut written = BTreeSet::new();
    for (name, value) in line.as_object().unwrap() {
        written.insert(name.clone());
        let inner = value.as_array().map_or(value, |all| &all[0]);
        for (inner, _) in inner.as_object().into_iter().flatten() {
            written.insert(format!("{name}.{inner}"));
        }
    }
    let reference = include_str!("../../../../docs/reference/access-log.md");
    let rows = reference.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<_> = rows.map(str::to_owned).collect();
    assert_eq!(written, documented);
}

#[test]
fn files_are_put_aside_when_they_are_full_and_the_oldest_goes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let one = line::of(&record()).len() as u64;
    let log = AccessLog::open(config(&path, 10 * one, 3)).unwrap();
    for number in 0..100 {
        log.write(&RequestRecord { attempts: 9, status: 100 + number, ..record() });
    }
    log.close();
    let names: BTreeSet<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = ["access.log", "access.log.1", "access.log.2"].map(str::to_owned);
    assert_eq!(names, BTreeSet::from(expected));
    let mut kept = Vec::new();
    for name in ["access.log.2", "access.log.1", "access.log"] {
        let path = directory.path().join(name);
        assert!(fs::metadata(&path).unwrap().len() <= 10 * one, "{name}");
        kept.extend(lines(&path).iter().map(|line| line["status"].as_u64().unwrap()));
    }
    // The latest, without a gap.
    assert!((21..=30).contains(&kept.len()), "{kept:?}");
    let expected: Vec<u64> = (200 - kept.len() as u64..200).collect();
    assert_eq!(kept, expected);
    let told = samples(&log);
    assert!(told.contains("laneway_access_log_lines_total{result=\"written\"} 100\n"), "{told}");
}

#[test]
fn a_file_that_somebody_else_has_put_aside_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let mut rotating = Rotating::open(config(&path, u64::MAX, 2), Arc::default()).unwrap();
    let mut write = || {
        rotating.write_all(&line::of(&record())).unwrap();
        rotating.flush().unwrap();
    };
    write();
    let aside = directory.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !path.exists() && std::time::Instant::now() < deadline {
        write();
    }
    assert_eq!(lines(&path).len(), 1);
    assert!(!lines(&aside).is_empty());
}

#[test]
fn of_two_processes_one_puts_a_full_file_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let one = line::of(&record()).len() as u64;
    let open = || Rotating::open(config(&path, 4 * one, 9), Arc::default()).unwrap();
    let (mut before, mut after) = (open(), open());
    for _ in 0..9 {
        for rotating in [&mut before, &mut after] {
            rotating.write_all(&line::of(&record())).unwrap();
            rotating.flush().unwrap();
        }
    }
    let counts: Vec<usize> = (1..=9)
        .map(|number| directory.path().join(format!("access.log.{number}")))
        .filter(|path| path.exists())
        .map(|path| lines(&path).len())
        .collect();
    // Each has written a line more at the most before it looked.
    assert!(!counts.is_empty() && counts.iter().all(|count| *count >= 4), "{counts:?}");
    assert_eq!(counts.iter().sum::<usize>() + lines(&path).len(), 18);
}

#[test]
fn what_is_no_file_of_its_own_is_never_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let (path, out) = (directory.path().join("stdout"), directory.path().join("out"));
    fs::write(&out, "").unwrap();
    std::os::unix::fs::symlink(&out, &path).unwrap();
    let log = AccessLog::open(config(&path, 1, 5)).unwrap();
    for _ in 0..5 {
        log.write(&record());
    }
    log.close();
    assert_eq!(lines(&out).len(), 5);
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(!directory.path().join("stdout.1").exists());
}

#[test]
fn a_pipe_that_nobody_reads_is_refused_and_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    let refused = |path: &Path| AccessLog::open(config(path, 1, 1)).unwrap_err().to_string();
    let said = refused(&path);
    assert!(said.starts_with("it is a pipe that nobody reads"), "{said}");
    assert_eq!(refused(directory.path()), "it is a directory");
    let socket = directory.path().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let said = refused(&socket);
    assert!(said.starts_with("it is a socket"), "{said}");
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_later_ones_are_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let counts = Arc::new(Counts::default());
    let mut rotating = Rotating::open(config(&path, 1, 2), Arc::clone(&counts)).unwrap();
    let write = |rotating: &mut Rotating| {
        rotating.write_all(&line::of(&record())).unwrap();
        rotating.flush().unwrap();
    };
    write(&mut rotating);
    // Where the file is to be put aside there is a directory that has something in it.
    fs::create_dir_all(directory.path().join("access.log.1/taken")).unwrap();
    write(&mut rotating);
    assert_eq!((counts.written(), counts.failed()), (1, 1));
    fs::remove_dir_all(directory.path().join("access.log.1")).unwrap();
    write(&mut rotating);
    assert_eq!((counts.written(), counts.failed()), (2, 1));
    assert_eq!(lines(&path).len(), 1);
}

#[test]
fn a_file_that_cannot_be_opened_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let error = AccessLog::open(config(&directory.path().join("no/such/file"), 1, 1)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
