//! The labels of requests, and how many combinations of them are kept.

/// Combinations of labels one thread keeps apart. A proxy sees (services it calls) x (lanes that touch them) x
/// (outcomes and code classes that occur, about 4): 4 096 is 100 services in 10 lanes. Each costs about 300 bytes
/// here and 20 series in Prometheus. What comes later is counted as `other`, with true role, outcome and class.
pub(crate) const LABEL_SETS_MAX: usize = 4096;

/// Stands for application, service, group and lane of what exceeds [`LABEL_SETS_MAX`].
pub(crate) const OTHER: &str = "other";

/// What the process does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// At the edge.
    Gateway,
    /// A sidecar handing a request to its own application.
    SidecarInbound,
    /// A sidecar carrying its application's request to another.
    SidecarOutbound,
}

/// How a request ended, seen from the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Served by an instance of its own lane.
    Lane,
    /// Served by something else because the lane could not.
    Fallback,
    /// Served by the base: in no lane that governs the service.
    Base,
    /// Refused by a rule, or because it was no correct request.
    Denied,
    /// Not served: no usable instance, an error on the way, a timeout, or the caller went away.
    Failed,
    /// The answer began and did not arrive whole: the instance broke off, or the caller took no more, or it took too long.
    Cut,
}

/// The class of the response's status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CodeClass {
    /// No response was sent.
    None,
    /// 1xx (a completed upgrade).
    Informational,
    /// 2xx.
    Success,
    /// 3xx.
    Redirection,
    /// 4xx.
    ClientError,
    /// 5xx.
    ServerError,
}

impl Role {
    /// As a label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::SidecarInbound => "sidecar_inbound",
            Self::SidecarOutbound => "sidecar_outbound",
        }
    }
}

impl Outcome {
    /// As a label value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Lane => "lane",
            Self::Fallback => "fallback",
            Self::Base => "base",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Cut => "cut",
        }
    }
}

impl CodeClass {
    /// The class of `status`. Beyond 599 nothing is defined, and counts as 5xx (RFC 9110 §15).
    pub fn of(status: u16) -> Self {
        match status {
            100..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            500..=999 => Self::ServerError,
            _ => Self::None,
        }
    }

    /// As a label value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

/// What one request is counted under, borrowed from whoever knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestLabels<'a> {
    /// What the process did with it.
    pub role: Role,
    /// The application that served, or should have; empty when unknown.
    pub application: &'a str,
    /// The service that was called; empty when unknown.
    pub service: &'a str,
    /// The route of a gateway that led there; empty when none did. Told to the control plane alone.
    pub route: &'a str,
    /// The lane group that governed the hop; empty when none did.
    pub lane_group: &'a str,
    /// The request's lane in that group; empty when none.
    pub lane: &'a str,
    /// How it ended.
    pub outcome: Outcome,
    /// The response's class.
    pub code_class: CodeClass,
}

/// [`RequestLabels`] that outlive the request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnedLabels {
    /// What the process did.
    pub role: Role,
    /// The application that served.
    pub application: Box<str>,
    /// The service that was called.
    pub service: Box<str>,
    /// The route of a gateway that led there.
    pub route: Box<str>,
    /// The lane group that governed.
    pub lane_group: Box<str>,
    /// The lane.
    pub lane: Box<str>,
    /// How it ended.
    pub outcome: Outcome,
    /// The response's class.
    pub code_class: CodeClass,
}

impl OwnedLabels {
    /// The same, borrowed.
    pub(crate) fn borrow(&self) -> RequestLabels<'_> {
        RequestLabels {
            role: self.role,
            application: &self.application,
            service: &self.service,
            route: &self.route,
            lane_group: &self.lane_group,
            lane: &self.lane,
            outcome: self.outcome,
            code_class: self.code_class,
        }
    }
}

impl From<RequestLabels<'_>> for OwnedLabels {
    fn from(labels: RequestLabels<'_>) -> Self {
        Self {
            role: labels.role,
            application: labels.application.into(),
            service: labels.service.into(),
            route: labels.route.into(),
            lane_group: labels.lane_group.into(),
            lane: labels.lane.into(),
            outcome: labels.outcome,
            code_class: labels.code_class,
        }
    }
}
