//! How lanes are entered: each condition, and all that must hold together.

use lanes::{
    Problem,
    condition::{Condition, Operator},
    group::{Entry, Meet},
};
use routes::entrance::possible;

use super::{Checked, Place, is_attribute, is_negative};
use crate::{resource::Lane, validate::Severity};

impl Checked<'_> {
    /// Checks how a lane is entered.
    pub(in crate::validate) fn check_lane(&mut self, lane: &Lane, entry: &Entry) {
        match entry {
            Entry::Content { meet, conditions } => {
                let written = lane.spec.entry.content.iter().flat_map(|it| &it.conditions);
                let mut good = Vec::new();
                for (index, (condition, written)) in conditions.iter().zip(written).enumerate() {
                    let header = written.header.as_deref().unwrap_or_default();
                    let place = place(format!("{CONDITIONS}[{index}]"), header);
                    if self.check_condition(condition, &place) {
                        good.push((index, condition));
                    }
                }
                if *meet == Meet::All {
                    self.check_together(&good);
                }
            }
            Entry::Ratio { sticky_by: Some(parameter), .. } => {
                let written = lane.spec.entry.ratio.as_ref();
                let header = written.and_then(|it| it.sticky_by.as_ref()?.header.as_deref());
                let at = "spec.entry.ratio.stickyBy".to_owned();
                self.check_parameter(parameter, false, &place(at, header.unwrap_or_default()));
            }
            Entry::Ratio { sticky_by: None, .. } => {}
        }
    }

    /// Looks for conditions on one parameter that contradict those before them.
    fn check_together(&mut self, conditions: &[(usize, &Condition)]) {
        let mut told = Vec::new();
        for (number, (index, condition)) in conditions.iter().enumerate() {
            let parameter = &condition.parameter;
            let before = conditions[..number].iter();
            let mut same: Vec<_> = before.filter(|(_, it)| it.parameter == *parameter).collect();
            if same.is_empty() || told.contains(parameter) {
                continue;
            }
            let others: Vec<String> = same.iter().map(|(index, _)| format!("[{index}]")).collect();
            same.push(&conditions[number]);
            let same: Vec<&Condition> = same.into_iter().map(|(_, condition)| *condition).collect();
            if !self.may_hold_together(&same) {
                let remedy = format!(
                    "take one of them out, or use `meet: any`: no request meets it together with conditions{}",
                    others.join(" and ")
                );
                let at = format!("{CONDITIONS}[{index}]");
                let problem = Problem::new(at, condition.to_string(), remedy);
                self.tell(false, Severity::Error, problem);
                told.push(parameter.clone());
            }
        }
    }

    /// Whether some request may meet all of these, which read the same parameter.
    fn may_hold_together(&mut self, conditions: &[&Condition]) -> bool {
        let (negative, positive): (Vec<&Condition>, Vec<&Condition>) =
            conditions.iter().partition(|condition| is_negative(condition));
        if negative.iter().any(|condition| condition.operator == Operator::NotExists) {
            return positive.is_empty();
        }
        let Some(parameter) = positive.first().map(|condition| &condition.parameter) else {
            return true;
        };
        let named = |condition: &&Condition| possible::named(parameter, &condition.operator);
        let refused: Vec<String> = negative.iter().filter_map(named).collect();
        let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
        let values = possible::values(parameter, self.paths());
        let asked: Vec<String> = positive.iter().filter_map(named).collect();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        // Several values of a header may each meet another condition; an attribute has one.
        if is_attribute(parameter) {
            return self.known.may_meet(&[&[values], &*asked].concat(), &refused);
        }
        asked.iter().all(|asked| self.known.may_meet(&[values, asked], &refused))
    }
}

const CONDITIONS: &str = "spec.entry.content.conditions";

fn place(at: String, header: &str) -> Place<'_> {
    Place { at, name: ("header", header), value: "value", is_of_lane: true }
}
