//! Paths have one form: it means the same bytes, holds nothing that servers resolve differently, and stays as it is.
#![no_main]

use percent_encoding::percent_decode;

fn decoded(path: &[u8]) -> Vec<u8> {
    percent_decode(path).collect()
}

libfuzzer_sys::fuzz_target!(|path: &[u8]| {
    let mut once = Vec::new();
    let normal = match routes::normalise(path, &mut once) {
        Ok(true) => once,
        Ok(false) => path.to_vec(),
        // Refused: by what it says, or by what it says when it is decoded.
        Err(_) => {
            let plain = decoded(path);
            let is_dotted = |segment: &[u8]| {
                let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
                matches!(name, b"." | b"..")
            };
            let odd = [&b"%"[..], b"\\", b"%2f", b"%2F", b"%5c", b"%5C"];
            let has_odd = odd.iter().any(|odd| path.windows(odd.len()).any(|it| it == *odd));
            let is_ambiguous = plain.split(|byte| *byte == b'/').any(is_dotted);
            assert!(has_odd || is_ambiguous, "{} is refused for nothing", path.escape_ascii());
            return;
        }
    };
    let mut twice = Vec::new();
    assert_eq!(routes::normalise(&normal, &mut twice), Ok(false), "{}", normal.escape_ascii());
    assert_eq!(decoded(&normal), decoded(path), "{}", path.escape_ascii());
    assert!(normal.is_ascii(), "{}", normal.escape_ascii());

    // Whoever decodes it finds no segment, and no slash, that was not there.
    let slashes = |text: &[u8]| text.iter().filter(|byte| **byte == b'/').count();
    let plain = decoded(&normal);
    assert_eq!(slashes(&plain), slashes(&normal), "{}", normal.escape_ascii());
    let segments = plain.split(|byte| matches!(byte, b'/' | b'\\'));
    for segment in segments {
        assert!(!matches!(segment, b"." | b".."), "{}", path.escape_ascii());
    }

    let mut merged = Vec::new();
    routes::merge_slashes(&normal, &mut merged);
    assert!(!routes::has_slashes_in_a_row(&merged), "{}", merged.escape_ascii());
    let mut still = Vec::new();
    assert_eq!(routes::normalise(&merged, &mut still), Ok(false), "{}", merged.escape_ascii());
});
