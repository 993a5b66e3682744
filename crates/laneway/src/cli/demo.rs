//! `laneway demo`: the sample scenario on this machine, to play with or to verify.

use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use clap::Args;

use super::output;
use crate::{
    demo::{
        Check, Demo,
        scenario::{API, CONTROL_PLANE, GATEWAY, HTTPS, INSTANCES},
    },
    signals::{Asked, Signals},
};

/// The arguments of `laneway demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Verify the scenario and exit: 0 when all is as it should be, 1 with the difference when not
    #[arg(long)]
    once: bool,
    /// Serve HTTPS too, with a certificate that is made for it
    #[arg(long)]
    tls: bool,
    /// Where state and logs are kept. Default: a temporary directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Kill an application before verifying, e.g. C-gray: base must serve its hop, and no request fail
    #[arg(long, value_name = "INSTANCE", requires = "once", hide = true)]
    kill: Option<String>,
}

/// Runs the demo until a signal, or once.
pub(crate) async fn run(verb: DemoArguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    if let Some(label) = &verb.kill {
        let labels: Vec<String> =
            INSTANCES.iter().map(crate::demo::scenario::Instance::label).collect();
        if !labels.contains(label) {
            bail!("--kill: `{label}`: use one of {}", labels.join(", "));
        }
    }
    let starting = Demo::start(verb.data, verb.tls, |what| output::line(format_args!("{what} …")));
    let mut demo = tokio::select! {
        demo = starting => demo?,
        // What was started ends with this process.
        () = stop_asked(&mut signals) => return Ok(ExitCode::FAILURE),
    };
    let code = if verb.once {
        verify(&mut demo, verb.kill.as_deref(), &mut signals).await
    } else {
        keep(&mut demo, &mut signals).await
    };
    demo.stop().await;
    code
}

async fn stop_asked(signals: &mut Signals) {
    while signals.next().await == Asked::Reload {}
}

async fn verify(
    demo: &mut Demo,
    kill: Option<&str>,
    signals: &mut Signals,
) -> anyhow::Result<ExitCode> {
    if let Some(label) = kill {
        demo.processes.kill(&format!("application-{label}")).await?;
        output::line(format_args!("killed application-{label}"));
    }
    let verification = demo.verification(kill);
    let verified = verification.run(|Check { name, result }| match result {
        Ok(seen) => output::line(format_args!("ok      {name}: {seen}")),
        Err(difference) => output::line(format_args!("FAILED  {name}: {difference}")),
    });
    let mut passed = tokio::select! {
        passed = verified => passed,
        () = stop_asked(signals) => return Ok(ExitCode::FAILURE),
    };
    while let Some(ended) = demo.processes.ended() {
        passed = false;
        output::line(format_args!("FAILED  processes: {ended}"));
    }
    if passed {
        output::line("the sample scenario is as it should be");
        return Ok(ExitCode::SUCCESS);
    }
    bail!("the sample scenario is not as it should be; logs are in {}", demo.keep_data());
}

async fn keep(demo: &mut Demo, signals: &mut Signals) -> anyhow::Result<ExitCode> {
    introduce(demo);
    loop {
        tokio::select! {
            () = stop_asked(signals) => {
                output::line("stopping …");
                return Ok(ExitCode::SUCCESS);
            }
            ended = demo.processes.next_ended() => {
                if ended.name == CONTROL_PLANE {
                    bail!("{ended}\n{}\nlogs are in {}", demo.processes.log_tail(&ended.name), demo.keep_data());
                }
                // Killing an application is one of the things to try.
                output::line(ended);
            }
        }
    }
}

/// What runs, and what to try.
fn introduce(demo: &Demo) {
    tell_running(demo);
    tell_what_to_try(demo);
    output::line("\nInterrupt with Ctrl-C to end everything.");
}

fn pid_of(demo: &Demo, name: &str) -> String {
    let found = demo.processes.running().find(|(running, _)| *running == name);
    found.map_or_else(|| "-".to_owned(), |(_, pid)| pid.to_string())
}

fn tell_running(demo: &Demo) {
    let pid_of = |name: &str| pid_of(demo, name);
    output::line(format_args!(
        "\n{:<28} {:<20} {:>9} {:>9}  sidecar's admin address",
        "RUNNING", "ADDRESS", "PROCESS", "SIDECAR"
    ));
    output::line(format_args!("{:<28} {GATEWAY:<20} {:>9}", "gateway edge", pid_of(CONTROL_PLANE)));
    output::line(format_args!(
        "{:<28} {API:<20} {:>9}",
        "control plane (API)",
        pid_of(CONTROL_PLANE)
    ));
    output::line(format_args!("{:<28} http://{API}/ in a browser: the console", ""));
    output::line(format_args!(
        "{:<28} asks who calls: you are known by your user on this machine, others show the token in {}",
        "",
        demo.api_token().display()
    ));
    for instance in &INSTANCES {
        let version = if instance.tag.is_empty() { "base" } else { instance.tag };
        output::line(format_args!(
            "{:<28} {:<20} {:>9} {:>9}  {}",
            format!("{} ({}, {version})", instance.service, instance.application),
            instance.address(),
            pid_of(&instance.application_process()),
            pid_of(&instance.sidecar_process()),
            instance.admin(),
        ));
    }
}

fn tell_what_to_try(demo: &Demo) {
    let laneway = std::env::args().next().unwrap_or_else(|| "laneway".to_owned());
    let gray_c = pid_of(demo, &INSTANCES[4].application_process());
    let in_tls = demo.https.iter().flat_map(|https| {
        let curl = format!("curl --cacert {}", https.authority.display());
        [
            (format!("{curl} https://{HTTPS}/a"), "the same in TLS"),
            (format!("{curl} -L http://{GATEWAY}/secure/a"), "in the clear it is sent on there"),
        ]
    });
    let mut commands = vec![
        (format!("curl http://{GATEWAY}/a"), "every hop is base"),
        (
            format!("curl -H 'canary: gray' http://{GATEWAY}/a"),
            "A and C are gray; B has no gray instance",
        ),
        (format!("{laneway} lane disable trade/gray"), "the second answers as the first"),
        (format!("{laneway} lane enable trade/gray"), "and as before"),
        (
            format!("{laneway} explain -H 'canary: gray' http://{GATEWAY}/a --path sc-A,sc-B,sc-C"),
            "why, at every hop",
        ),
        (format!("samples/traffic.py {GATEWAY} 1000 --path /ratio/a"), "about 30 % in the lane"),
        (format!("{laneway} lane ratio rollout/gray 60"), "twice as many"),
        (
            format!("curl -H 'x-user: 7' http://{GATEWAY}/ratio/a"),
            "one user, always the same place",
        ),
        (format!("kill {gray_c}"), "ends gray C: its hop falls back to base"),
        (format!("{laneway} status"), "what is connected, and how far behind it is"),
        (format!("{laneway} demo --once"), "verifies all of it (end this one first)"),
    ];
    commands.splice(2..2, in_tls);
    let width = commands.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    output::line("\nTRY");
    for (command, effect) in commands {
        output::line(format_args!("  {command:<width$}  {effect}"));
    }
}
