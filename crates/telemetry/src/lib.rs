//! Every metric, its labels and their bounds, structured logs, and the exporters.
//!
//! On the request path a thread writes plain numbers into its own [`Recorder`]. Once a second its tick calls
//! [`Recorder::publish`]; [`Metrics`] adds the threads up when somebody asks, and [`Metrics::render`] writes
//! Prometheus text. Names are in [`names`] and nowhere else.

pub mod logs;
pub mod names;
pub mod shortage;

mod histogram;
mod labels;
mod metrics;
mod recorder;
mod text;

pub use labels::{CodeClass, Outcome, RequestLabels, Role};
pub use metrics::Metrics;
pub use recorder::{Count, LabelSet, Level, Recorder};
pub use text::{CONTENT_TYPE, Samples};
