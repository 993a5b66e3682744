//! What is found of certificates one by one, kept beside each for as long as it stays what it is: reading one takes far
//! longer than all else that a write of another object has to do with it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use lanes::Problem;

use crate::{
    certificate::{self, Facts},
    resource::{Certificate, Key, Object},
};

/// Of every certificate of the last set.
#[derive(Debug, Default)]
pub(super) struct Judged {
    by_key: HashMap<Key, Verdict>,
}

#[derive(Debug)]
struct Verdict {
    /// What was judged. Held, so that another cannot take its place in memory.
    object: Arc<Object>,
    problems: Vec<Problem>,
    names: Option<Vec<String>>,
    is_used: bool,
}

impl Judged {
    /// What is wrong with an object whatever else there is.
    pub(super) fn problems(&mut self, object: &Arc<Object>) -> Vec<Problem> {
        match &**object {
            Object::Certificate(certificate) => {
                self.judge(object, || (object.problems(), names(certificate))).problems.clone()
            }
            _ => object.problems(),
        }
    }

    /// The names that a certificate of the set covers, where it can be read here.
    pub(super) fn names(&self, certificate: &Certificate) -> Option<&[String]> {
        self.by_key.get(&certificate.key())?.names.as_deref()
    }

    /// Ends a validation: what it did not ask for is forgotten.
    pub(super) fn forget_unused(&mut self) {
        self.by_key.retain(|_, verdict| std::mem::take(&mut verdict.is_used));
    }

    fn judge(
        &mut self,
        object: &Arc<Object>,
        judge: impl FnOnce() -> (Vec<Problem>, Option<Vec<String>>),
    ) -> &Verdict {
        let judged = || {
            let (problems, names) = judge();
            Verdict { object: Arc::clone(object), problems, names, is_used: true }
        };
        let verdict = match self.by_key.entry(object.key()) {
            Entry::Vacant(vacant) => vacant.insert(judged()),
            Entry::Occupied(known) if Arc::ptr_eq(&known.get().object, object) => known.into_mut(),
            Entry::Occupied(mut known) => {
                known.insert(judged());
                known.into_mut()
            }
        };
        verdict.is_used = true;
        verdict
    }
}

fn names(certificate: &Certificate) -> Option<Vec<String>> {
    let chain = certificate::certificates(certificate.spec.certificate.as_deref()?).ok()?;
    Some(Facts::of(chain.first()?).ok()?.names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    fn certificate(pem: &str) -> Arc<Object> {
        let text = serde_json::json!({
            "apiVersion": "laneway.io/v1alpha1", "kind": "Certificate", "metadata": {"name": "shop"},
            "spec": {"caCertificates": pem},
        });
        let (mut found, problems) = read::text("shop.json", &text.to_string());
        assert_eq!(problems, []);
        Arc::new(found.remove(0).object)
    }

    #[test]
    fn what_stays_is_judged_once_and_what_changes_anew() {
        let mut judged = Judged::default();
        let problem = |field: &str| vec![Problem::new(field, "", "")];
        let (one, same) = (certificate("one"), certificate("one"));
        let ask = |judged: &mut Judged, object: &Arc<Object>, field: &str| {
            judged.judge(object, || (problem(field), None)).problems.clone()
        };
        assert_eq!(ask(&mut judged, &one, "first"), problem("first"));
        assert_eq!(ask(&mut judged, &one, "again"), problem("first"));
        // Whether another object says the same is not asked.
        assert_eq!(ask(&mut judged, &same, "changed"), problem("changed"));
        judged.forget_unused();
        assert_eq!(ask(&mut judged, &same, "kept"), problem("changed"));
        judged.forget_unused();
        judged.forget_unused();
        assert_eq!(ask(&mut judged, &same, "gone meanwhile"), problem("gone meanwhile"));
    }
}
