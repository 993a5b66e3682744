//! Where words go: answers to standard output, errors to standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use std::{
    fmt,
    io::{IsTerminal, Write},
    net::SocketAddr,
};

use api::resource::one_line;

/// One line of an answer. A reader that has gone away (`| head`) is no reason to panic.
pub(crate) fn line(text: impl fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A whole answer that ends its last line itself.
pub(crate) fn text(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Where a role listens, told before traffic flows, so that port 0 is of use.
pub(crate) fn listening(what: &str, address: SocketAddr) {
    line(format_args!("listening on {address} ({what})"));
}

/// Why a command failed.
pub(crate) fn error(error: &impl fmt::Display) {
    eprintln!("laneway: {}", harmless(error));
}

/// Something a person should know although the command succeeded.
pub(crate) fn warning(warning: impl fmt::Display) {
    eprintln!("warning: {}", harmless(&warning));
}

/// What a person should know beside an answer.
pub(crate) fn aside(words: impl fmt::Display) {
    eprintln!("{}", harmless(&words));
}

/// Words in which others' text may stand: nothing in them acts on a terminal.
fn harmless(text: &impl fmt::Display) -> String {
    let text = text.to_string();
    text.split('\n').map(one_line).collect::<Vec<_>>().join("\n")
}

/// What clap has to say: help, version or a misunderstanding, with colours where they fit.
pub(crate) fn usage(error: &clap::Error) {
    let _ = error.print();
}

/// How a word is meant; it is coloured so, on a terminal only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meant {
    Well,
    Badly,
    Aside,
}

/// A word of an answer, coloured on a terminal.
pub(crate) fn word(text: &str, meant: Meant) -> String {
    if !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    let colour = match meant {
        Meant::Well => 32,
        Meant::Badly => 31,
        Meant::Aside => 2,
    };
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

/// Rows under a heading, each column as wide as its widest cell; nothing when there are no rows.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    let with_heading = std::iter::once(&heading).filter(|heading| !heading.is_empty());
    aligned(&with_heading.chain(rows).collect::<Vec<_>>())
}

/// Rows without a heading.
pub(crate) fn rows(rows: &[Vec<String>]) -> String {
    aligned(&rows.iter().collect::<Vec<_>>())
}

fn aligned(rows: &[&Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let columns = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["a".to_owned(), "long cell".to_owned(), "x".to_owned()],
            vec!["longer".to_owned(), String::new(), String::new()],
        ];
        assert_eq!(
            table(&["NAME", "B", "C"], &rows),
            "NAME    B          C\na       long cell  x\nlonger\n"
        );
        assert_eq!(table(&["NAME"], &[]), "");
    }
}
