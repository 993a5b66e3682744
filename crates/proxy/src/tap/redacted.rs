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
const NAMES_A_SECRET: [&str; 21] = [
    "token",
    "secret",
    "password",
    "passwd",
    "pwd",
    "passcode",
    "apikey",
    "auth",
    "session",
    "reset",
    "verify",
    "verification",
    "confirm",
    "confirmation",
    "invite",
    "invitation",
    "activate",
    "activation",
    "magic",
    "code",
    "otp",
];

/// The same of two words.
const NAMES_A_SECRET_IN_TWO: [[&str; 2]; 2] = [["api", "key"], ["access", "key"]];

/// Bytes of a parameter's name.
const NAME_BYTES_MAX: usize = 32;

/// Bytes of a parameter without a value that is taken for a name.
const BARE_BYTES_MAX: usize = 24;

/// A path and its query, as they may be shown.
pub(crate) fn target(path: &str, query: &str) -> String {
    // What is kept is what is shown, however long the target is.
    let mut shown = String::with_capacity((path.len() + query.len()).min(2 * PART_BYTES_MAX));
    let (mut before, mut is_authority) = ("", false);
    for (place, segment) in path.split('/').enumerate() {
        if shown.len() > PART_BYTES_MAX {
            shown.push_str(MORE);
            break;
        }
        if place > 0 {
            shown.push('/');
        }
        push_segment(segment, names_a_secret(before), is_authority, &mut shown);
        // `https://user@host`, as the target of a proxy or a clone has it; where slashes are merged, with one of them.
        is_authority = ends_a_scheme(segment) || segment.is_empty() && ends_a_scheme(before);
        before = segment;
    }
    if query.is_empty() {
        return shown;
    }
    shown.push('?');
    let begun = shown.len();
    let has_values = query.split('&').any(has_value);
    for (place, parameter) in query.split('&').enumerate() {
        if place > 0 {
            shown.push('&');
        }
        if place == PARAMETERS_MAX || shown.len() - begun > PART_BYTES_MAX {
            shown.push_str(MORE);
            break;
        }
        push_parameter(parameter, has_values, &mut shown);
    }
    shown
}

/// Whether a parameter has a value; padding is none.
fn has_value(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(_, value)| value.bytes().any(|byte| byte != b'='))
}

/// One parameter: its name, where it is one. What has no value may itself be one, as in `?839201` and in `?TWFu=`: it is taken
/// for a name where it is a word and `has_values` says that names have values here.
fn push_parameter(parameter: &str, has_values: bool, shown: &mut String) {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    if value.is_empty() {
        let is_name = has_values && is_bare_name(name);
        return shown.push_str(if is_name { name } else { REDACTED });
    }
    // `TWFu==` is a value with its padding.
    let is_named = is_name(name) && !value.bytes().all(|byte| byte == b'=');
    shown.push_str(if is_named { name } else { REDACTED });
    shown.push('=');
    shown.push_str(REDACTED);
}

/// One segment; what is before an `@` is who asks, and after a `;` parameters, as `jsessionid` is one.
fn push_segment(segment: &str, is_secret: bool, is_authority: bool, shown: &mut String) {
    let (text, parameters) = segment.split_once(';').unwrap_or((segment, ""));
    match text.rsplit_once('@') {
        _ if is_secret && !text.is_empty() => shown.push_str(REDACTED),
        Some((user, rest)) if is_authority || user.contains(':') || is_opaque(user) => {
            shown.push_str(REDACTED);
            shown.push('@');
            push_unless_opaque(rest, shown);
        }
        _ if hides_a_user(text, is_authority) => shown.push_str(REDACTED),
        _ => push_unless_opaque(text, shown),
    }
    for parameter in parameters.split(';').filter(|it| !it.is_empty()).take(PARAMETERS_MAX) {
        shown.push(';');
        push_parameter(parameter, false, shown);
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

/// Whether some of text looks like a token: a JWT, or long, with digits among letters, and no UUID. Percent signs count, or
/// else whoever escapes a letter would be shown.
fn is_opaque(text: &str) -> bool {
    let is_of_token =
        |letter: char| letter.is_ascii_alphanumeric() || "-_.~%+=:,!$*".contains(letter);
    text.split(|letter| !is_of_token(letter)).any(|piece| {
        piece.starts_with("eyJ") && piece.len() >= 16
            || piece.len() >= OPAQUE_BYTES_MIN
                && piece.bytes().any(|byte| byte.is_ascii_digit())
                && piece.bytes().any(|byte| byte.is_ascii_alphabetic())
                && !is_uuid(piece)
    })
}

/// Whether what has a value is the name of one, brackets escaped or not.
fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.[]".contains(&byte);
    let plain =
        ["%5B", "%5b", "%5D", "%5d"].iter().fold(text.to_owned(), |it, of| it.replace(of, "["));
    plain.len() <= NAME_BYTES_MAX && plain.bytes().all(is_of_name) && !is_opaque(text)
}

/// Whether what has no value is a name, and not itself a value, or one that hides its `=`.
fn is_bare_name(parameter: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphabetic() || b"-_.".contains(&byte);
    parameter.len() <= BARE_BYTES_MAX && parameter.bytes().all(is_of_name)
}

/// Whether a user and a password are written with escapes, or where a host is, a user alone.
fn hides_a_user(text: &str, is_authority: bool) -> bool {
    let lower = text.to_ascii_lowercase();
    (lower.contains("%40") || lower.contains('@'))
        && (is_authority || lower.contains("%3a") || lower.contains(':'))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether it ends as a scheme does, escaped or not.
fn ends_a_scheme(segment: &str) -> bool {
    segment.ends_with(':') || segment.ends_with("%3A") || segment.ends_with("%3a")
}

/// Whether a segment says that a secret follows: `reset-token` and `resetToken` as well as `token` and `tokens`, but not
/// `authors`.
fn names_a_secret(segment: &str) -> bool {
    let is_one = |word: &str| NAMES_A_SECRET.iter().any(|name| is_word(word, name));
    let mut before = "";
    let mut is_one_or_two = |word| {
        let before = std::mem::replace(&mut before, word);
        let is_pair = |[first, second]: &[&str; 2]| is_word(before, first) && is_word(word, second);
        is_one(word) || NAMES_A_SECRET_IN_TWO.iter().any(is_pair)
    };
    // Where capitals are no beginnings, as in `APIkey`, it is one word.
    segment.split(is_between_words).any(is_one) || words(segment).any(&mut is_one_or_two)
}

/// Whether it is that word, or several of it.
fn is_word(word: &str, name: &str) -> bool {
    let is_it = |word: &str| word.eq_ignore_ascii_case(name);
    is_it(word) || word.strip_suffix(['s', 'S']).is_some_and(is_it)
}

/// Words of a segment, each of which begins with a capital or after a sign: `verifyEmail`, `verify_email`, `OTPCode`.
fn words(segment: &str) -> impl Iterator<Item = &str> {
    let mut rest = segment;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(is_between_words);
        if rest.is_empty() {
            return None;
        }
        let bytes = rest.as_bytes();
        let is_end = |at: usize| {
            let [one, next] = [bytes[at - 1], bytes[at]];
            let goes_on_small = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
            is_between_words(char::from(next))
                || next.is_ascii_uppercase() && (!one.is_ascii_uppercase() || goes_on_small)
        };
        let end = (1..bytes.len()).find(|at| is_end(*at)).unwrap_or(bytes.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

fn is_between_words(letter: char) -> bool {
    matches!(letter, '-' | '_' | '.' | '~' | '+' | ';')
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
        check("/orders", "x=1&empty=&bare", "/orders?x=***&empty&bare");
        check("/o", "a=b=c&=d", "/o?a=***&=***");
        check("/o", "filter%5Bid%5D=7&f[x]=1", "/o?filter%5Bid%5D=***&f[x]=***");
        check("/o", "eyJhbGciOiJIUzI1NiJ9", "/o?***");
        check("/o", "a%20b=secret", "/o?***=***");
        check("/o", "user%3Dhunter2&s3cr3t&wsdl&x=1", "/o?***&***&wsdl&x=***");
        // A query without any value is itself one.
        for value in ["839201", "s3cr3t", "hunter", "MTIzNDU2Nzg5MC9h/aGlqa2xtbm9wcXJzdHV2", "a&b"]
        {
            let parts: Vec<&str> = value.split('&').map(|_| "***").collect();
            check("/verify", value, &format!("/verify?{}", parts.join("&")));
        }
        check("/dl", "MTIzNDU2Nzg5MC9h/aGlqa2xtbm9wcXJzdHV2=", "/dl?***");
        for value in ["TWFu=", "YWxpY2U=", "a=&TWFu=", "TWFu=&b"] {
            let parts: Vec<&str> = value.split('&').map(|_| "***").collect();
            check("/dl", value, &format!("/dl?{}", parts.join("&")));
        }
        check("/dl", "TWFu==", "/dl?***=***");
        check("/dl", "MTIzNDU2Nzg5MC9h/aGlqa2xtbm9wcXJzdHV2==", "/dl?***=***");
        check("/dl", &format!("{}=1", "a1".repeat(17)), "/dl?***=***");
    }

    #[test]
    fn what_may_be_a_secret_in_a_path_is_left_out() {
        check("/reset/eyJhbGciOiJIUzI1NiJ9.e30.sig", "", "/reset/***");
        check("/password-reset/s3cr3t/x", "", "/password-reset/***/x");
        check("/v1/tokens/abc", "", "/v1/tokens/***");
        check("/proxy/http://bob:hunter2@shop/x", "", "/proxy/http://***@shop/x");
        check("/proxy/bob%3Ahunter2%40shop/x", "", "/proxy/***/x");
        check("/reset/abc", "", "/reset/***");
        check("/a;jsessionid=1234;v=2;s3cr3t", "", "/a;jsessionid=***;v=***;***");
        let token = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
        check(
            &format!("/clone/https://{token}@github.com/x"),
            "",
            "/clone/https://***@github.com/x",
        );
        check(&format!("/clone/{token}@github.com/x"), "", "/clone/***@github.com/x");
        check("/clone/https://s3cr3t@github.com/x", "", "/clone/https://***@github.com/x");
        check("/clone/https://s3cr3t%40github.com/x", "", "/clone/https://***/x");
        check("/mirror/bob:hunter2%40shop", "", "/mirror/***");
        check("/token/bob@s3cr3t", "", "/token/***");
        check(&format!("/d/(({token}))"), "", "/d/***");
        check(&format!("/d/{}", "a1".repeat(16)), "", "/d/***");
        check(&format!("/d/%61{}", "a1".repeat(16)), "", "/d/***");
    }

    #[test]
    fn who_asks_of_a_target_is_left_out_where_slashes_are_merged() {
        check("/clone/https:/s3cr3t@github.com/x", "", "/clone/https:/***@github.com/x");
        check("/clone/https:/s3cr3t%40github.com/x", "", "/clone/https:/***/x");
        check("/clone/https%3A/s3cr3t@github.com/x", "", "/clone/https%3A/***@github.com/x");
        check("/clone/https%3a//s3cr3t@github.com/x", "", "/clone/https%3a//***@github.com/x");
        check("/clone/https:/github.com/x@v1", "", "/clone/https:/github.com/x@v1");
    }

    #[test]
    fn what_follows_a_word_for_a_secret_is_left_out_however_that_is_written() {
        for name in [
            "resetPassword",
            "verifyEmail",
            "accessToken",
            "passwordReset",
            "PasswordReset",
            "reset_password",
            "verification",
            "activation",
            "invitations",
            "magic",
            "magicLink",
            "code",
            "OTPCode",
            "apiKey",
            "APIKey",
            "api-keys",
            "api_key",
            "APIKEY",
            "APIkey",
            "TOKENs",
            "TOKENS",
            "accessKey",
            "~token",
            "emailConfirmation",
        ] {
            check(&format!("/a/{name}/839201/x"), "", &format!("/a/{name}/***/x"));
        }
        check("/a/token;v=1/839201", "", "/a/token;v=***/***");
        for name in ["authors", "codecs", "decode", "emails", "keys", "lane", "é"] {
            check(&format!("/a/{name}/839201"), "", &format!("/a/{name}/839201"));
        }
        assert_eq!(words("aBcDEf-g__h").collect::<Vec<_>>(), ["a", "Bc", "D", "Ef", "g", "h"]);
        assert_eq!(words("路_éA").collect::<Vec<_>>(), ["路", "é", "A"]);
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
        assert!(shown.capacity() < 4 * PART_BYTES_MAX, "{}", shown.capacity());
        assert!(target(&"é".repeat(4_000), "").len() < 2 * PART_BYTES_MAX);
    }
}
