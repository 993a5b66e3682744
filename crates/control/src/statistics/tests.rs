//! Counted, closed, kept, answered.

use std::time::{Duration, Instant};

use super::{question::Wanted, *};

fn hello(name: &str) -> v1::Hello {
    v1::Hello {
        role: v1::Role::Sidecar.into(),
        name: name.to_owned(),
        capabilities: vec![CAPABILITY.to_owned()],
        ..Default::default()
    }
}

fn series(lane: &str, class: u32) -> v1::TrafficSeries {
    v1::TrafficSeries {
        role: v1::TrafficRole::Inbound.into(),
        service: "sc-A".to_owned(),
        group: if lane.is_empty() { "" } else { "trade" }.to_owned(),
        lane: lane.to_owned(),
        outcome: v1::TrafficOutcome::Lane.into(),
        code_class: class,
        ..Default::default()
    }
}

/// So many requests of the first series, of about 3 ms each.
fn report(new: Vec<v1::TrafficSeries>, requests: u32) -> v1::Traffic {
    let sample = v1::TrafficSample { series: 0, sum_us: 3_000, buckets: vec![20, requests] };
    v1::Traffic { series: new, samples: vec![sample], ..Default::default() }
}

const ALL: Wanted = Wanted { window: 60, step: None, is_one: true };

/// Requests by teller and lane.
fn counted(statistics: &Statistics, wanted: Wanted, now: Instant) -> Vec<(String, u64)> {
    let answer = statistics
        .answer(wanted, now, |labels| {
            (labels.role == Role::Inbound)
                .then(|| format!("{}/{}", labels.application, labels.lane))
        })
        .unwrap();
    let sum = |cells: &Vec<Option<Box<question::Counted>>>| {
        cells.iter().flatten().map(|it| it.requests()).sum()
    };
    answer.lines.iter().map(|(name, cells)| (name.clone(), sum(cells))).collect()
}

fn second(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn what_data_planes_of_an_application_report_is_one_series() {
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let statistics = Arc::new(Statistics::open(directory.path(), start));
    let mut streams = [0; 3].map(|_| statistics.begin(&hello("a"), start).unwrap());
    for stream in &mut streams {
        stream.take(report(vec![series("gray", 2)], 5), start);
    }
    assert_eq!(counted(&statistics, ALL, start), [], "the second is still open");
    let expected = [("a/gray".to_owned(), 15)];
    assert_eq!(counted(&statistics, ALL, start + second(1)), expected);
    let numbers = statistics.counted.lock().table.all().count();
    assert_eq!(numbers, 1);
}

#[test]
fn a_data_plane_that_restarts_makes_nothing_less() {
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let statistics = Arc::new(Statistics::open(directory.path(), start));
    for _ in 0..2 {
        let mut stream = statistics.begin(&hello("a"), start).unwrap();
        stream.take(report(vec![series("gray", 2)], 7), start);
    }
    assert_eq!(statistics.reporting(), 0);
    assert_eq!(counted(&statistics, ALL, start + second(1)), [("a/gray".to_owned(), 14)]);
}

#[test]
fn nobody_counts_for_anothers_application_nor_as_a_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let statistics = Arc::new(Statistics::open(directory.path(), start));
    let mut stream = statistics.begin(&hello("a"), start).unwrap();
    let of_another = v1::TrafficSeries { application: "b".to_owned(), ..series("gray", 2) };
    stream.take(report(vec![of_another], 1), start);
    let mut stream = statistics.begin(&hello("a"), start).unwrap();
    let role = v1::TrafficRole::Gateway.into();
    stream.take(report(vec![v1::TrafficSeries { role, ..series("gray", 2) }], 1), start);
    let mut stream = statistics.begin(&hello("a"), start).unwrap();
    let service = "s".repeat(LABEL_BYTES_MAX + 1);
    stream.take(report(vec![v1::TrafficSeries { service, ..series("gray", 2) }], 1), start);
    let mut stream = statistics.begin(&hello("a"), start).unwrap();
    let service = "\u{1b}[2J".to_owned();
    stream.take(report(vec![v1::TrafficSeries { service, ..series("gray", 2) }], 1), start);
    let mut stream = statistics.begin(&hello("a"), start).unwrap();
    stream.take(report(vec![series("gray", 6)], 1), start);
    assert_eq!(counted(&statistics, ALL, start + second(1)), [("a/gray".to_owned(), 1)]);
    assert!(statistics.begin(&v1::Hello::default(), start).is_none(), "it reports nothing");
    for name in ["n".repeat(LABEL_BYTES_MAX + 1), "\u{1b}]0;".to_owned()] {
        assert!(statistics.begin(&hello(&name), start).is_none(), "{name:?}");
    }
}

#[test]
fn reports_that_come_together_after_a_stall_are_counted_and_endless_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let statistics = Arc::new(Statistics::open(directory.path(), start));
    let mut stream = statistics.begin(&hello("a"), start).unwrap();
    stream.take(report(vec![series("gray", 2)], 1), start);
    for _ in 0..10 {
        stream.take(report(vec![], 1), start + second(10));
    }
    assert_eq!(counted(&statistics, ALL, start + second(12)), [("a/gray".to_owned(), 11)]);
    for _ in 0..10_000 {
        stream.take(report(vec![], 1), start + second(12));
    }
    let all = counted(&statistics, ALL, start + second(14))[0].1;
    assert!((20..50).contains(&all), "{all} requests");
}

#[test]
fn what_is_kept_survives_a_restart_at_every_length() {
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let open = |at| Arc::new(Statistics::open(directory.path(), at));
    let statistics = open(start);
    let mut stream = statistics.begin(&hello("a"), start).unwrap();
    stream.take(report(vec![series("gray", 2)], 1), start);
    for number in 1..=25 {
        stream.take(report(vec![], 1), start + second(number));
    }
    drop(stream);
    statistics.stop();
    drop(statistics);

    // Time goes on by the machine's clock, which has not moved: the restarted one begins at the same second.
    let statistics = open(Instant::now());
    let now = Instant::now();
    let gray = |window, after| {
        let wanted = Wanted { window, step: None, is_one: true };
        let all = counted(&statistics, wanted, now + second(after));
        all.into_iter().map(|(_, requests)| requests).sum::<u64>()
    };
    // The clock of the first ran ahead of the machine's: seconds of the future are left out, spans are not.
    assert_eq!(gray(3_600, 90), 26, "ten seconds");
    assert_eq!(gray(2 * 24 * 3_600, 700), 26, "five minutes");
    let mut stream = statistics.begin(&hello("a"), start).unwrap();
    stream.take(report(vec![series("gray", 2)], 4), now + second(800));
    // Another thread writes.
    let deadline = Instant::now() + second(20);
    while gray(3_600, 850) != 30 {
        assert!(Instant::now() < deadline, "it does not go on: {}", gray(3_600, 850));
        std::thread::yield_now();
    }
    let series = history::read_series(&history::reader(statistics.history.path()).unwrap());
    assert_eq!(series.unwrap().len(), 1, "under the same number");
}

#[test]
fn a_spoilt_history_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(history::FILE);
    std::fs::write(&file, "this is no database, and long enough to be looked at as one".repeat(99))
        .unwrap();
    let start = Instant::now();
    let statistics = Arc::new(Statistics::open(directory.path(), start));
    let mut stream = statistics.begin(&hello("a"), start).unwrap();
    stream.take(report(vec![series("gray", 2)], 3), start);
    let hour = Wanted { window: 3_600, step: None, is_one: true };
    statistics.tick(start + second(20));
    statistics.stop();
    assert_eq!(counted(&statistics, hour, start + second(30)), [("a/gray".to_owned(), 3)]);
    assert!(directory.path().join("statistics.db.unreadable").exists());
}

#[test]
fn a_step_in_which_nobody_could_tell_anything_is_none_and_not_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let statistics = Arc::new(Statistics::open(directory.path(), start));
    statistics.tick(start + second(5));
    let mut stream = statistics.begin(&hello("a"), start).unwrap();
    stream.take(report(vec![series("gray", 2)], 3), start + second(6));
    for number in 7..=20 {
        statistics.tick(start + second(number));
    }
    drop(stream);
    for number in 21..=30 {
        statistics.tick(start + second(number));
    }
    let wanted = Wanted { window: 30, step: Some(1), is_one: false };
    let answer = statistics.answer(wanted, start + second(30), |_| Some(())).unwrap();
    let recorded: Vec<usize> = (0..30).filter(|step| answer.recorded[*step].is_some()).collect();
    let (first, last) = (recorded[0], recorded[recorded.len() - 1]);
    assert_eq!(recorded.len(), last - first + 1, "without a gap");
    assert!((5..=7).contains(&first) && (19..=21).contains(&last), "{first} to {last}");
    assert_eq!(answer.data_planes(), 1);
}

#[test]
fn an_answer_of_one_step_has_room_for_every_series_and_one_of_many_says_what_it_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let statistics = Arc::new(Statistics::open(directory.path(), start));
    for application in 0..700 {
        let mut stream =
            statistics.begin(&hello(&format!("application-{application}")), start).unwrap();
        stream.take(report(vec![series("gray", 2)], 1), start);
    }
    let now = start + second(3);
    assert_eq!(counted(&statistics, ALL, now).len(), 700);
    let wanted = Wanted { window: 900, step: Some(5), is_one: false };
    let answer =
        statistics.answer(wanted, start + second(10), |it| Some(it.teller.clone())).unwrap();
    assert!(answer.is_cut && answer.lines.len() < 700, "{}", answer.lines.len());
}

#[test]
fn more_series_than_there_may_be_are_counted_as_one() {
    let mut table = Table::default();
    let labels = |service: &str| {
        let teller = service.get(..1).unwrap_or_default();
        let told = v1::TrafficSeries { service: service.to_owned(), ..series("gray", 2) };
        let (_, labels) = labels(told, v1::Role::Sidecar, teller).unwrap();
        labels
    };
    // One of nine tellers takes no more than its share.
    for service in 0..10 * series::OF_TELLER_MAX {
        table.number(labels(&format!("1-{service}")));
    }
    assert_eq!(table.all().count(), series::OF_TELLER_MAX + 1);
    for service in 0..series::SERIES_MAX {
        let teller = char::from_u32(0x4E00 + (service / 1_000) as u32).unwrap();
        table.number(Labels { teller: teller.to_string().into(), ..labels(&service.to_string()) });
    }
    let (rest, _) = table.number(labels("one"));
    assert_eq!(table.number(labels("two")).0, rest);
    assert_eq!(&*table.get(rest).unwrap().labels.service, "other");
    assert_ne!(table.number(labels("1-7")).0, rest, "those known stay");
    // What nothing is heard of makes room.
    table.forget_before(1);
    assert_ne!(table.number(labels("two")).0, rest);
}

/// What the process holds, and its processor time.
fn resources() -> (u64, Duration) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    (kilobytes * 1_024, Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// 500 applications of 20 instances, each busy in 20 series, for a quarter of an hour: a bound, with what is measured printed
/// beside it. Without optimisation a second of it takes several, so fewer pass; `cargo xtask scale` lets all of them pass.
#[test]
fn at_scale_ten_thousand_busy_data_planes_take_less_than_300_mb() {
    // What other tests take meanwhile is not to be counted.
    const ALONE: &str = "LANEWAY_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return be_busy();
    }
    let name = "statistics::tests::at_scale_ten_thousand_busy_data_planes_take_less_than_300_mb";
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let ended = alone.args(["--exact", name, "--nocapture"]).env(ALONE, "1").status().unwrap();
    assert!(ended.success());
}

#[allow(clippy::print_stdout, reason = "figures for people")]
fn be_busy() {
    use prost::Message;

    const APPLICATIONS: usize = 500;
    const INSTANCES: usize = 20;
    const SERIES: u32 = 20;
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let statistics = Arc::new(Statistics::open(directory.path(), start));
    let (before, _) = resources();
    let series: Vec<_> = (0..SERIES)
        .map(|number| v1::TrafficSeries {
            service: format!("service-{}", number / 4),
            ..self::series(["gray", "blue", "", "green"][number as usize % 4], 2)
        })
        .collect();
    let samples: Vec<_> = (0..SERIES)
        .map(|series| v1::TrafficSample {
            series,
            sum_us: 90_000,
            buckets: vec![20 + series, 3, 1, 9, 1, 4, 3, 1],
        })
        .collect();
    let later = v1::Traffic { samples, ..Default::default() };
    let first = v1::Traffic { series, ..later.clone() }.encode_to_vec();
    let later = later.encode_to_vec();
    let mut streams: Vec<_> = (0..APPLICATIONS * INSTANCES)
        .map(|number| {
            statistics.begin(&hello(&format!("application-{}", number % APPLICATIONS)), start)
        })
        .map(Option::unwrap)
        .collect();
    let seconds = if cfg!(debug_assertions) { 12 } else { 910 };
    let (_, busy_before) = resources();
    for number in 0..seconds {
        let bytes = if number == 0 { &first } else { &later };
        for stream in &mut streams {
            let traffic = v1::Traffic::decode(&bytes[..]).unwrap();
            stream.take(traffic, start + second(number));
        }
    }
    let (after, busy) = resources();
    let counted = statistics.counted.lock();
    let (kept, series) = (counted.recent.bytes(), counted.table.all().count());
    drop(counted);
    let a_second = (busy - busy_before) / seconds as u32;
    println!(
        "{} data planes, {series} series, {seconds} s: {} MB more than before, {} MB of them seconds; {a_second:?} of processor time for each second",
        streams.len(),
        after.saturating_sub(before) / 1_000_000,
        kept / 1_000_000,
    );
    assert_eq!(series, APPLICATIONS * SERIES as usize);
    // What is left of the seconds that may be kept counts as if they were there.
    let all = after.saturating_sub(before) + (recent::BYTES_MAX - kept) as u64;
    assert!(all <= 300_000_000, "{all} bytes");
    if !cfg!(debug_assertions) {
        assert!(a_second <= Duration::from_millis(200), "{a_second:?} of processor time");
    }
}
