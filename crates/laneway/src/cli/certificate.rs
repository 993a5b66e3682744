//! `laneway certificate`: sugar that writes a Certificate from PEM files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use api::{
    client::CallError,
    resource::{Certificate, CertificateSpec, Object, WrittenKey},
    rest::ApplyRequest,
};
use clap::{Args, Subcommand};

use super::{EXIT_FAILED, apply, confirm::Confirmation, output, server::Actions};

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Write a certificate with its private key, or authorities, from PEM files; of one that is there, the next
    Add(Add),
}

/// The arguments of `laneway certificate add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The certificate's name
    name: String,
    /// A PEM file: the certificate, then who signed it, and so on
    #[arg(long, value_name = "FILE", requires = "key", required_unless_present = "ca")]
    cert: Option<PathBuf>,
    /// A PEM file: its private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// A PEM file instead: authorities by whom certificates of clients, or of instances, are verified
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cert", "key"])]
    ca: Option<PathBuf>,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Runs the verb.
pub(crate) async fn run(verb: Actions<Action>) -> anyhow::Result<ExitCode> {
    let Action::Add(add) = verb.action;
    let spec = CertificateSpec {
        certificate: text("cert", add.cert.as_deref())?,
        private_key: text("key", add.key.as_deref())?.map(WrittenKey::new),
        ca_certificates: text("ca", add.ca.as_deref())?,
        files: None,
    };
    let mut certificate = Certificate::new(add.name.as_str(), spec);
    verb.namespace.name().clone_into(&mut certificate.metadata.namespace);
    let client = verb.server.client()?;
    let request = ApplyRequest { objects: vec![Object::from(certificate).to_value()] };
    let response = match client.apply(&request, false).await {
        Err(CallError::Refused(problem)) if !problem.errors.is_empty() => {
            for error in &problem.errors {
                match file_of(&error.field, &add) {
                    Some(file) => output::error(&format_args!("{}: {error}", file.display())),
                    None => output::error(error),
                }
            }
            output::error(&"nothing was written");
            return Ok(ExitCode::from(EXIT_FAILED));
        }
        response => response?,
    };
    response.warnings.iter().for_each(output::warning);
    response.results.iter().for_each(|result| apply::tell(result, false));
    add.confirmation.of(&client, &response.results, verb.server.patience.limit()).await
}

fn text(flag: &str, path: Option<&Path>) -> anyhow::Result<Option<String>> {
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("--{flag}: read `{}`", path.display()))
    };
    path.map(read).transpose()
}

/// The file that a field of the object was read from.
fn file_of<'a>(field: &str, add: &'a Add) -> Option<&'a Path> {
    match field {
        "spec.certificate" => add.cert.as_deref(),
        "spec.privateKey" => add.key.as_deref(),
        "spec.caCertificates" => add.ca.as_deref(),
        _ => None,
    }
}
