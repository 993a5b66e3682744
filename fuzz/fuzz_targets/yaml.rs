//! What operators write: read or refused with a place and a remedy; what is read and written again is read as the same.
#![no_main]

use api::{read, resource::Set, write};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (found, errors) = read::text("f", text);
    for error in &errors {
        let said = error.to_string();
        assert!(said.starts_with('f') && !said.contains('\n'), "{said:?}");
        assert!(!error.problem.remedy.is_empty(), "{said:?}");
    }
    let objects: Vec<_> = found.into_iter().map(|found| found.object).collect();
    for text in [write::yaml(&objects), write::json_of(&objects)] {
        let (again, errors) = read::text("again", &text);
        assert!(errors.is_empty(), "{errors:?} in {text}");
        let again: Vec<_> = again.into_iter().map(|found| found.object).collect();
        assert_eq!(again, objects, "{text}");
    }
    for finding in api::validate(&Set::new(objects)) {
        assert!(!finding.problem.remedy.is_empty(), "{finding:?}");
    }
});
