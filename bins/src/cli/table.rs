//! Columns for people. What others wrote is shown without what a terminal would obey.

use jiff::Timestamp;

/// Prints rows below headings; the last column is as long as it likes. Nothing is printed without a row.
pub(super) fn print<const N: usize>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> std::io::Result<()> {
    let rows: Vec<[String; N]> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        super::print(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Prints a line for each field that has a value.
pub(super) fn print_fields(fields: impl IntoIterator<Item = (&'static str, String)>) -> std::io::Result<()> {
    for (name, value) in fields {
        if !value.is_empty() {
            super::print(&format!("{name:10}{}", one_line(&value, 2_000)))?;
        }
    }
    Ok(())
}

/// A time to the second, or nothing.
pub(super) fn time(at: Option<Timestamp>) -> String {
    at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

/// At most so many characters, none of which ends the line or steers the terminal.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let plain = |c: char| if steers(c) { '\u{FFFD}' } else { c };
    let mut line: String = text.chars().take(most).map(plain).collect();
    if text.chars().nth(most).is_some() {
        line.push('…');
    }
    line
}

/// As it is, but for what would steer the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if steers(c) && !matches!(c, '\n' | '\t') { '\u{FFFD}' } else { c }).collect()
}

/// Whether a terminal would obey it, or show what follows in another order.
pub(super) fn steers(c: char) -> bool {
    c.is_control() || is_bidi(c)
}

/// Marks that turn the direction of what follows (Unicode UAX #9), so that it reads as something else.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_steered() {
        assert_eq!(one_line("a\nb\u{1b}[31m\u{202e}c", 99), "a\u{FFFD}b\u{FFFD}[31m\u{FFFD}c");
        assert_eq!(one_line("ünïcödé", 3), "ünï…");
        assert_eq!(one_line("ünï", 3), "ünï");
    }
}
