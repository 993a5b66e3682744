//! What is read, and how mistakes are told.

#[track_caller]
fn check_error(text: &str, expected: &str) {
    let (_, errors) = super::text("f.yaml", text);
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(told.join("\n"), expected, "of:\n{text}");
}

const LANE: &str = "\
apiVersion: laneway.io/v1alpha1
kind: Lane
metadata: {name: trade-gray}
spec:
  group: trade
  entry:
    content:
      conditions:
      - {header: canary, operator: \"==\", value: gray}
";

#[test]
fn every_document_is_read_and_knows_its_lines() {
    let text = format!("# nothing\n---\n{LANE}---\n---\n{LANE}");
    let (found, errors) = super::text("f.yaml", &text);
    assert_eq!(errors, []);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].object.key().to_string(), "Lane trade-gray");
    assert_eq!(found[1].place.to_string(), "f.yaml:14 (document 2)");
    let place = |field| found[0].place_of(field).line;
    assert_eq!(place("spec.entry.content.conditions[0].operator"), 11);
    assert_eq!(place("spec.entry.content.conditions[7].operator"), 11);
    assert_eq!(place("spec.group"), 7);
    assert_eq!(place("metadata.name"), 5);
}

#[test]
fn json_and_lists_are_read() {
    let (found, _) = super::text("f.yaml", LANE);
    let json = serde_json::to_string(&found[0].object).unwrap();
    for text in [json.clone(), format!("[{json}, {json}]"), format!("{{\"items\": [{json}]}}")] {
        let (read, errors) = super::text("f.json", &text);
        assert_eq!(errors, []);
        assert!(!read.is_empty());
        assert!(read.iter().all(|read| read.object == found[0].object), "{text}");
    }
    // Escapes that JSON has and YAML has not.
    let (read, errors) = super::text("f.json", &json.replace("gray", "\\ud83d\\ude00"));
    assert_eq!(errors, []);
    assert_eq!(read[0].object.metadata().name, "trade-😀");
}

#[test]
fn what_is_no_object_is_told_by_line_field_value_and_remedy() {
    check_error(
        "a: [",
        "f.yaml:1: write valid YAML or JSON: unclosed bracket '[' at line 1, column 4",
    );
    check_error("7", "f.yaml:1: `7`: write an object with apiVersion, kind, metadata, spec");
    let kinds = "use one of ServiceSource, Backend, Certificate, BackendTLSPolicy, Gateway, HTTPRoute, GRPCRoute, TLSRoute, LaneGroup, Lane";
    check_error("metadata: {}", &format!("f.yaml:1: kind: {kinds}"));
    check_error("kind: Pod", &format!("f.yaml:1: kind: `Pod`: {kinds}"));
    check_error(
        &LANE.replace("laneway.io/v1alpha1", "laneway.io/v1"),
        "f.yaml:1: apiVersion: `laneway.io/v1`: write `apiVersion: laneway.io/v1alpha1` for kind Lane",
    );
    check_error(
        &LANE.replace("  group: trade\n", ""),
        "f.yaml:5: spec.group: is missing: write it",
    );
    check_error(
        &LANE.replace("group: trade", "group: trade\n  priorty: 3"),
        "f.yaml:6: spec.priorty: `3`: unknown field: use one of `group`, `tag`, `enabled`, `priority`, `entry`, `fallback`, `applications`",
    );
    check_error(
        &LANE.replace("value: gray", "valeu: gray"),
        "f.yaml:9: spec.entry.content.conditions[0].valeu: `gray`: unknown field: use one of `header`, `query`, `cookie`, `claim`, `attribute`, `operator`, `value`, `values`",
    );
    check_error(
        &LANE.replace("group: trade", "group: trade\n  enabled: maybe"),
        "f.yaml:6: spec.enabled: `maybe`: write true or false",
    );
    check_error(
        &LANE.replace("group: trade", "group: trade\n  tag: 7"),
        "f.yaml:6: spec.tag: `7`: write a string; put quotes around it",
    );
    check_error(
        &LANE.replace("group: trade", "group: trade\n  fallback: nothing"),
        "f.yaml:6: spec.fallback: `nothing`: write a list of tags, or the word `none`",
    );
    check_error(
        &LANE.replace("header: canary", "attribute: user"),
        "f.yaml:9: spec.entry.content.conditions[0].attribute: `user`: use one of `path`, `method`, `host`, `clientIp`",
    );
    check_error(
        &LANE.replace("value: gray", "value: true"),
        "f.yaml:9: spec.entry.content.conditions[0].value: `true`: write a string (in quotes), or a number for `percentage`",
    );
    check_error(
        &LANE.replace("name: trade-gray", "name: trade-gray, lables: {team: a}"),
        "f.yaml:3: metadata.lables: unknown field: use one of `name`, `namespace`, `labels`, `annotations`, `resourceVersion`, `generation`, `uid`, `creationTimestamp`, `deletionTimestamp`, `deletionGracePeriodSeconds`, `generateName`, `selfLink`, `finalizers`, `ownerReferences`, `managedFields`",
    );
    check_error(
        &LANE.replace("name: trade-gray", "name: trade-gray, finalizers: nobody"),
        "f.yaml:3: metadata.finalizers: `nobody`: write a list",
    );
    check_error(
        &LANE.replace("spec:", "specs:"),
        "f.yaml:5: specs: unknown field: use one of `metadata`, `spec`, `status`",
    );
}

#[test]
fn a_value_is_told_as_it_was_written() {
    for (written, shown) in [
        ("tag: 1.10", "spec.tag: `1.10`: write a string; put quotes around it"),
        ("tag: 010", "spec.tag: `010`: write a string; put quotes around it"),
        ("tag: 0x1F", "spec.tag: `0x1F`: write a string; put quotes around it"),
        ("tag: {name: gray}", "spec.tag: write a string alone, no map or list"),
        ("priority: 1e2", "spec.priority: `1e2`: write a whole number, -2147483648 to 2147483647"),
        ("enabled: 0o7", "spec.enabled: `0o7`: write true or false"),
    ] {
        let text = LANE.replace("group: trade", &format!("group: trädé\n  {written}"));
        check_error(&text, &format!("f.yaml:6: {shown}"));
    }
    let names = LANE.replace("name: trade-gray", "\"na\\nme\": a");
    let (_, errors) = super::text("f.yaml", &names);
    assert!(!errors[0].to_string().contains('\n'), "{errors:?}");
}

#[test]
fn what_repeats_itself_without_end_is_refused_at_once() {
    let repeat = |of: char| {
        format!("{of}: &{of} [{}]\n", format!("*{},", char::from(of as u8 - 1)).repeat(9))
    };
    let bomb: String = ('b'..='i').map(repeat).collect();
    let began = std::time::Instant::now();
    check_error(
        &format!("a: &a [x,x,x,x,x,x,x,x,x]\n{bomb}"),
        "f.yaml:5: write valid YAML or JSON: too much is repeated by anchors: write it out",
    );
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    // A list that many lanes share is none of the kind.
    let shared = format!("kind: List\napplications: &all [{}]\nitems:\n", "app,".repeat(10));
    let switches = "  - {kind: Lane, metadata: {name: a}, spec: *all}\n".repeat(90);
    let (_, errors) = super::text("f.yaml", &format!("{shared}{switches}"));
    assert!(errors.len() == 90, "{:?}", errors.first());
}

#[test]
fn one_wrong_document_does_not_hide_another() {
    let text = format!("{LANE}---\nkind: Pod\n---\n{LANE}---\nkind: Node\n");
    let (found, errors) = super::text("f.yaml", &text);
    assert_eq!(found.len(), 2);
    let lines: Vec<_> =
        errors.iter().map(|error| (error.place.document, error.place.line)).collect();
    assert_eq!(lines, [(2, 11), (4, 23)]);
}

#[test]
fn a_file_of_many_lanes_and_long_comments_is_read() {
    let comments = "# commented out\n".repeat(500);
    let text = format!(
        "{comments}{}",
        format!("{comments_short}{LANE}---\n", comments_short = "# a\n# b\n").repeat(1_500)
    );
    let text =
        text.replacen("spec:\n", &format!("spec:\n{}", "  # commented out\n".repeat(500)), 1);
    let (found, errors) = super::text("f.yaml", &text);
    assert_eq!(errors, []);
    assert_eq!(found.len(), 1_500);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in ".{0,200}") {
        let _ = super::text("f.yaml", &text);
    }

    #[test]
    fn no_change_of_a_good_file_makes_reading_or_validation_panic(
        at in 0..LANE.len(),
        cut in 0..40_usize,
        put in "[ -~\n]{0,12}",
    ) {
        let end = (at + cut).min(LANE.len());
        let text = format!("{}{put}{}", &LANE[..at], &LANE[end..]);
        let (found, errors) = super::text("f.yaml", &text);
        for error in &errors {
            proptest::prop_assert!(!error.problem.remedy.is_empty(), "{error}");
        }
        let set = crate::resource::Set::new(found.into_iter().map(|found| found.object));
        let _ = crate::validate(&set);
    }
}

#[test]
fn a_key_is_written_once_in_yaml_and_in_json() {
    for written in [
        "kind: LaneGroup\nmetadata: {name: a}\nmetadata: {name: b}\n",
        // YAML does not know this escape, so that it is read as JSON.
        "{\"kind\": \"Lane\\/Group\",\n \"spec\": {},\n \"spec\": {}}",
        "{\"kind\": \"LaneGroup\", \"kind\": \"Lane\"}",
        "{\"kind\": \"\\ud83d\\ude00\", \"kind\": \"Lane\"}",
    ] {
        let (found, errors) = super::text("a.json", written);
        assert!(found.is_empty() && errors.len() == 1, "{written}: {errors:?}");
        let said = errors[0].to_string().to_lowercase();
        assert!(said.contains("twice") || said.contains("duplicate"), "{written}: {said}");
    }
}
