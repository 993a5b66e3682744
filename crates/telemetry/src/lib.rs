//! Every metric, its labels and their bounds, structured logs, and the exporters.
//!
//! On the request path a thread writes plain numbers into its own [`Recorder`]. Once a second its tick calls
//! [`Recorder::publish`]; [`Metrics`] adds the threads up when somebody asks, and [`Metrics::render`] writes
//! Prometheus text. Names are in [`names`] and nowhere else.

pub mod access_log;
pub mod logs;
pub mod names;
pub mod shortage;
pub mod sketch;
pub mod traces;

mod histogram;
mod labels;
mod metrics;
mod recorder;
mod request_record;
mod text;

pub use histogram::Histogram;
pub use labels::{CodeClass, Outcome, OwnedLabels, RequestLabels, Role};
pub use metrics::{Metrics, RequestTotals};
pub use recorder::{Count, EnteredLane, LabelSet, Level, Recorder};
pub use request_record::{RequestObservers, RequestRecord, Unread};
pub use text::{CONTENT_TYPE, Samples};
