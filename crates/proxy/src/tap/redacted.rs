//! A target as it may be shown: names of the query's parameters without their values, and nothing of the path that may be
//! somebody's secret.

/// What stands for what is left out.
const REDACTED: &str = "***";

/// What stands for the rest of what is too long.
const MORE: &str = "…";

/// Bytes of a shown path, and of a shown query: what a person reads at a glance, and more.
const PART_BYTES_MAX: usize = 512;

/// Parameters of a query that are shown.
const PARAMETERS_MAX: usize = 32;

/// A segment of at least so many bytes that is no word, no number and no UUID is taken for a secret: shorter ones are ids that
/// people look for.
const OPAQUE_BYTES_MIN: usize = 32;

/// What the segment before a secret is called, as reset links and the like have it.
const NAMES_A_SECRET: [&str; 15] = [
    "token", "secret", "password", "passwd", "apikey", "api-key", "api_key", "auth", "session",
    "reset", "verify", "confirm", "invite", "activate", "otp",
];

/// Bytes of a parameter without a value that is taken for a name.
const BARE_BYTES_MAX: usize = 24;

/// A path and its query, as they may be shown.
pub(super) fn target(path: &str, query: &str) -> String {
    let mut shown = String::with_capacity(path.len() + query.len());
    let mut before = "";
    for (place, segment) in path.split('/').enumerate() {
        if shown.len() > PART_BYTES_MAX {
            shown.push_str(MORE);
            break;
        }
        if place > 0 {
            shown.push('/');
        }
        push_segment(segment, names_a_secret(before), &mut shown);
        before = segment;
    }
    if query.is_empty() {
        return shown;
    }
    shown.push('?');
    let begun = shown.len();
    for (place, parameter) in query.split('&').enumerate() {
        if place > 0 {
            shown.push('&');
        }
        if place == PARAMETERS_MAX || shown.len() - begun > PART_BYTES_MAX {
            shown.push_str(MORE);
            break;
        }
        match parameter.split_once('=') {
            Some((name, "")) => push_unless_opaque(name, &mut shown),
            Some((name, _)) => {
                push_unless_opaque(name, &mut shown);
                shown.push('=');
                shown.push_str(REDACTED);
            }
            None if is_bare_name(parameter) => shown.push_str(parameter),
            None => shown.push_str(REDACTED),
        }
    }
    shown
}

/// One segment; what is before an `@` is who asks, and after a `;` parameters, as `jsessionid` is one.
fn push_segment(segment: &str, is_secret: bool, shown: &mut String) {
    let (text, parameters) = segment.split_once(';').unwrap_or((segment, ""));
    match text.rsplit_once('@') {
        Some((user, rest)) if user.contains(':') => {
            shown.push_str(REDACTED);
            shown.push('@');
            push_unless_opaque(rest, shown);
        }
        _ if is_secret && !text.is_empty() || hides_a_user(text) => shown.push_str(REDACTED),
        _ => push_unless_opaque(text, shown),
    }
    for parameter in parameters.split(';').filter(|it| !it.is_empty()).take(PARAMETERS_MAX) {
        shown.push(';');
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        push_unless_opaque(name, shown);
        if !value.is_empty() {
            shown.push('=');
            shown.push_str(REDACTED);
        }
    }
}

fn push_unless_opaque(text: &str, shown: &mut String) {
    if is_opaque(text) {
        return shown.push_str(REDACTED);
    }
    let end = text.floor_char_boundary(PART_BYTES_MAX);
    shown.push_str(&text[..end]);
    if end < text.len() {
        shown.push_str(MORE);
    }
}

/// Whether text looks like a token: a JWT, or long, with digits among letters, and no UUID. Percent signs count, or else
/// whoever escapes a letter would be shown.
fn is_opaque(text: &str) -> bool {
    if text.starts_with("eyJ") && text.len() >= 16 {
        return true;
    }
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%+=:,!$*".contains(&byte);
    text.len() >= OPAQUE_BYTES_MIN
        && text.bytes().all(is_of_token)
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !is_uuid(text)
}

/// Whether what has no value is a name, and not itself a value, or one that hides its `=`.
fn is_bare_name(parameter: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphabetic() || b"-_.".contains(&byte);
    parameter.len() <= BARE_BYTES_MAX && parameter.bytes().all(is_of_name)
}

/// Whether a user and a password are written with escapes.
fn hides_a_user(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    (lower.contains("%40") || lower.contains('@')) && (lower.contains("%3a") || lower.contains(':'))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn names_a_secret(segment: &str) -> bool {
    let lower = segment.to_ascii_lowercase();
    NAMES_A_SECRET.iter().any(|name| {
        // `reset-token` as well as `token` and `tokens`, but not `authors`.
        lower
            .split(['-', '_', '.'])
            .any(|word| word == *name || word.strip_suffix('s') == Some(name))
            || lower == *name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, query: &str, shown: &str) {
        assert_eq!(target(path, query), shown, "{path}?{query}");
    }

    #[test]
    fn names_of_a_query_are_shown_and_its_values_are_not() {
        check("/orders/17", "", "/orders/17");
        check("/orders", "user=7&card=4111&user=8", "/orders?user=***&card=***&user=***");
        check("/orders", "empty=&bare", "/orders?empty&bare");
        check("/o", "a=b=c&=d", "/o?a=***&=***");
        check("/o", "eyJhbGciOiJIUzI1NiJ9", "/o?***");
        check("/o", "a%20b=secret", "/o?a%20b=***");
        check("/o", "user%3Dhunter2&s3cr3t&wsdl", "/o?***&***&wsdl");
    }

    #[test]
    fn what_may_be_a_secret_in_a_path_is_left_out() {
        check("/reset/eyJhbGciOiJIUzI1NiJ9.e30.sig", "", "/reset/***");
        check("/password-reset/s3cr3t/x", "", "/password-reset/***/x");
        check("/v1/tokens/abc", "", "/v1/tokens/***");
        check("/proxy/http://bob:hunter2@shop/x", "", "/proxy/http://***@shop/x");
        check("/proxy/bob%3Ahunter2%40shop/x", "", "/proxy/***/x");
        check("/reset/abc", "", "/reset/***");
        check("/a;jsessionid=1234;v=2", "", "/a;jsessionid=***;v=***");
        check(&format!("/d/{}", "a1".repeat(16)), "", "/d/***");
        check(&format!("/d/%61{}", "a1".repeat(16)), "", "/d/***");
    }

    #[test]
    fn what_people_look_for_is_shown() {
        check(
            "/orders/0af76519-16cd-43dd-8448-eb211c80319c",
            "",
            "/orders/0af76519-16cd-43dd-8448-eb211c80319c",
        );
        check("/authors/bob", "", "/authors/bob");
        check("/mail/bob@shop.example", "", "/mail/bob@shop.example");
        check(
            "/a-very-long-name-of-an-article-about-lanes",
            "",
            "/a-very-long-name-of-an-article-about-lanes",
        );
        check("/灰度/订单", "", "/灰度/订单");
        check("//", "", "//");
        check("*", "", "*");
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let long = "/路".repeat(4_000);
        let query: Vec<String> = (0..4_000).map(|number| format!("p{number}=v")).collect();
        let shown = target(&long, &query.join("&"));
        assert!(shown.len() < 3 * PART_BYTES_MAX, "{}", shown.len());
        assert_eq!(shown.matches(MORE).count(), 2);
        assert!(target(&"é".repeat(4_000), "").len() < 2 * PART_BYTES_MAX);
    }
}
