//! Why a request went where it went, told by the very functions that decide.
//!
//! Decisions are generic over an [`Observer`]. `()` observes nothing and compiles to nothing; [`Explanation`]
//! writes down every step.

/// Sees the steps of a decision. Every method has an empty default.
pub trait Observer {
    /// Whether steps are wanted at all. Decisions skip the work of describing them when `false`.
    const ON: bool;

    /// One step, in words a person reads; `decided` marks the step that settled it.
    fn step(&mut self, _step: Step) {}
}

impl Observer for () {
    const ON: bool = false;
}

/// One step of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A lane was tried at an entrance.
    Lane {
        /// The group.
        group: String,
        /// The lane's tag.
        tag: String,
        /// Whether it took the request.
        matched: bool,
        /// Why, or why not: names the condition, the value seen and the value wanted.
        because: String,
    },
    /// A group's result at an entrance.
    Member {
        /// The group.
        group: String,
        /// The tag, or `None` for base.
        tag: Option<String>,
        /// Why.
        because: String,
    },
    /// A set of instances was considered at a hop.
    Subset {
        /// The group that governs, if any.
        group: Option<String>,
        /// The tag, or `None` for base.
        tag: Option<String>,
        /// Whether it serves the hop.
        chosen: bool,
        /// Why, or why not.
        because: String,
    },
    /// One instance was considered at a hop.
    Instance {
        /// Its address.
        address: String,
        /// Its tag, or `None` for base.
        tag: Option<String>,
        /// Whether it was a candidate.
        candidate: bool,
        /// Why, or why not.
        because: String,
    },
}

/// Every step of a decision, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Observer for Explanation {
    const ON: bool = true;

    fn step(&mut self, step: Step) {
        self.steps.push(step);
    }
}
