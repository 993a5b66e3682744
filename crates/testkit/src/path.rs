//! Reads the path that an answer of the sample applications names: `Agray[127.0.0.21][config=base] -> B[127.0.0.12]`.

use anyhow::{Context as _, Result, bail};

/// One hop: which program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The application's letter: `A`.
    pub name: String,
    /// The tag it prints, none for base: `gray`.
    pub tag: Option<String>,
    /// The address it prints.
    pub address: String,
}

/// Every hop of an answer, in order.
///
/// # Errors
/// When a hop is not one, e.g. an application reports that its own call failed.
pub fn parse(answer: &str) -> Result<Vec<Hop>> {
    answer.trim().split(" -> ").map(hop).collect()
}

fn hop(text: &str) -> Result<Hop> {
    let (label, rest) = text.split_once('[').with_context(|| format!("no hop: `{text}`"))?;
    let (address, _) = rest.split_once(']').with_context(|| format!("no address in `{text}`"))?;
    let name_length = label.chars().take_while(char::is_ascii_uppercase).count();
    if name_length == 0 {
        bail!("no hop: `{text}`");
    }
    let (name, tag) = label.split_at(name_length);
    let tag = Some(tag).filter(|tag| !tag.is_empty()).map(str::to_owned);
    Ok(Hop { name: name.to_owned(), tag, address: address.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hop_is_read() {
        let hops = parse("Agray[127.0.0.21][config=base] -> B[127.0.0.12]").unwrap();
        let expected = [("A", Some("gray"), "127.0.0.21"), ("B", None, "127.0.0.12")];
        let read: Vec<_> =
            hops.iter().map(|hop| (&*hop.name, hop.tag.as_deref(), &*hop.address)).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_failed_call_is_no_hop() {
        assert!(parse("A[127.0.0.11] -> ERROR 503").is_err());
    }
}
