//! The benchmark's page: ratios first, figures of this one machine after.

use std::fmt::Write as _;

use super::{CONNECTIONS, ROUNDS, SECONDS, Sample};

/// The contender that only copies bytes.
const FLOOR: &str = "tcp-forwarder";

/// What others are compared with, and the target for Laneway where there is one (a ratio not to exceed).
const BASES: &[(&str, Option<f64>)] =
    &[("nginx", Some(0.75)), (FLOOR, Some(1.3)), ("haproxy", Some(0.75)), ("envoy", Some(0.25))];

/// The page as Markdown.
pub(super) fn render(names: &[&str], versions: &[String], rounds: &[Vec<Sample>]) -> String {
    let mut text = format!(
        "# Benchmarks\n\nWritten by `cargo xtask bench`: HTTP/1.1, {CONNECTIONS} keep-alive connections, answers of 128 bytes, one \
         processor for the proxy, another for client and upstream; {ROUNDS} rounds in which every contender runs \
         {SECONDS} s in turn. CPU time per request is what the kernel's scheduler counted for the proxy; a ratio is taken \
         within each round, its median and range told. Machines differ; ratios travel better than times.\n\n\
         Laneway decides the lane of every request (a group of ten lanes by content, the last one matches), keeps \
         metrics, and checks what it parses. The TCP forwarder looks at nothing: it is the floor, nearly all of it the \
         kernel's. Where the floor alone is above a target, that target cannot be met on the machine of this run.\n\n\
         ## CPU time per request, ratio\n\n\
         | relative to | Laneway, median | range | target | the floor, median |\n|---|---|---|---|---|\n"
    );
    let index = |name: &str| names.iter().position(|other| *other == name);
    let ratios = |one: usize, other: usize| {
        let of_round = |round: &Vec<Sample>| round[one].cpu_ns / round[other].cpu_ns;
        let mut ratios: Vec<f64> = rounds.iter().map(of_round).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    };
    for (base, target) in BASES {
        let (Some(laneway), Some(other)) = (index("laneway"), index(base)) else { continue };
        let target = target.map_or(String::new(), |target| format!("≤ {target}"));
        let floor = index(FLOOR).map(|floor| format!("{:.2}", median(&ratios(floor, other))));
        let ratios = ratios(laneway, other);
        let (low, high) = (ratios[0], ratios[ratios.len() - 1]);
        let _ = writeln!(
            text,
            "| {base} | **{:.2}** | {low:.2} – {high:.2} | {target} | {} |",
            median(&ratios),
            floor.unwrap_or_default()
        );
    }
    text.push_str("\n## Figures of this run\n\n| contender | version | CPU µs per request | requests per second |\n|---|---|---|---|\n");
    for (position, (name, version)) in names.iter().zip(versions).enumerate() {
        let of = |pick: fn(&Sample) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(|round| pick(&round[position])).collect();
            values.sort_by(f64::total_cmp);
            median(&values)
        };
        let cpu = of(|sample| sample.cpu_ns / 1e3);
        let rate = of(|sample| sample.rate);
        let _ = writeln!(text, "| {name} | {version} | {cpu:.2} | {rate:.0} |");
    }
    text
}

/// The second contender relative to the first, in one line.
pub(super) fn compared(rounds: &[Vec<Sample>]) -> String {
    let mut ratios: Vec<f64> =
        rounds.iter().map(|round| round[1].cpu_ns / round[0].cpu_ns).collect();
    ratios.sort_by(f64::total_cmp);
    let (low, high) = (ratios[0], ratios[ratios.len() - 1]);
    let median = median(&ratios);
    format!("CPU time per request, relative to before: {median:.3} (median; {low:.3} – {high:.3})")
}

/// The middle of sorted values.
fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        let sample = |cpu_ns| Sample { cpu_ns, rate: 1.0 };
        // The second round ran on a slower machine; the ratio is the same.
        let rounds = vec![vec![sample(1.0), sample(2.0)], vec![sample(10.0), sample(20.0)]];
        let text = render(&["laneway", "nginx"], &["1".to_owned(), "2".to_owned()], &rounds);
        assert!(text.contains("| nginx | **0.50** | 0.50 – 0.50 | ≤ 0.75 |  |"), "{text}");
    }

    #[test]
    fn a_change_is_told_relative_to_before() {
        let round = |before, after| {
            vec![Sample { cpu_ns: before, rate: 1.0 }, Sample { cpu_ns: after, rate: 1.0 }]
        };
        let text = compared(&[round(10.0, 11.0), round(20.0, 20.0), round(10.0, 10.1)]);
        assert!(text.ends_with("before: 1.010 (median; 1.000 – 1.100)"), "{text}");
    }
}
