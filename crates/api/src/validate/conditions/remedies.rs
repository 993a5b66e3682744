//! What would be right instead of conditions that never hold.

use lanes::condition::{Operator, Parameter};
use routes::entrance::Unseen;

/// Instead of a value that no request has.
pub(super) fn of_value(parameter: &Parameter, operator: &Operator) -> &'static str {
    match (parameter, operator) {
        (Parameter::Host, Operator::Regex(_)) => {
            "match whole host names, e.g. `.*[.]example[.]com`: a host is compared in lower case, without port"
        }
        (Parameter::Host, operator) => of_host(operator),
        (Parameter::Path, Operator::Regex(_)) => {
            "match the whole path, from its first `/`, e.g. `/beta.*`: it is compared normalised, without query"
        }
        (Parameter::Path, Operator::Prefix(_)) => {
            "write how a normalised path begins, from its first `/`, without query: it is compared so"
        }
        (Parameter::Path, _) => {
            "write a normalised path that begins with `/`, without query: it is compared so"
        }
        (Parameter::Method, _) => {
            "write a method such as GET: at most 32 letters, digits and any of !#$%&'*+-.^_`|~"
        }
        (Parameter::ClientIp, Operator::Regex(_)) => {
            "match a whole address as it is shown, e.g. `10[.]1[.].*`, or use the operator cidr for a network"
        }
        (Parameter::ClientIp, _) => {
            "write how an address is shown, e.g. `10.1.` or `2001:db8:`, or use the operator cidr for a network"
        }
        (Parameter::Header(name), _) if name == "host" => {
            "write a host name or address, with its port where clients send it: requests with another are refused"
        }
        (Parameter::Header(name), _) if name == "content-length" => {
            "write at most 19 digits: requests with another length are refused"
        }
        (Parameter::Header(_), _) => {
            "write a value without control characters and without white space around it: no header has them"
        }
        (Parameter::Query(_) | Parameter::Cookie(_) | Parameter::Claim(_), _) => {
            "write a value without white space around it: it is compared without"
        }
    }
}

fn of_host(operator: &Operator) -> &'static str {
    let (Operator::Equal(text) | Operator::NotEqual(text) | Operator::Prefix(text)) = operator
    else {
        return OTHER_HOST;
    };
    if text.contains('*') {
        "use the operator regex, e.g. `.*[.]example[.]com`: a host is compared letter by letter, without wildcards"
    } else if !text.starts_with('[') && text.matches(':').count() > 1 {
        "put the address in brackets, e.g. `[::1]`: so a host says it"
    } else {
        OTHER_HOST
    }
}

const OTHER_HOST: &str =
    "write a host name or address, or how it begins, without port: it is compared without";

/// Instead of a field that no condition sees.
pub(super) fn of_unseen(why: Unseen) -> &'static str {
    match why {
        Unseen::OneHop => {
            "use another header: this one is for one connection alone, and no condition sees it"
        }
        Unseen::Underscored => {
            "use a name with `-`: gateways drop headers with `_` in the name before conditions see them"
        }
        Unseen::NotTrusted => {
            "use another header, or an entrance that trusts its clients: the entrances here replace it before conditions see it"
        }
        Unseen::NoTrustedHops => {
            "use clientIp or another header, or set laneway.io/trusted-hops: without proxies in front that are trusted it is dropped before conditions see it"
        }
    }
}
