//! The README's table of error codes is the list in the code.

use std::collections::BTreeSet;

use microserve_http::Code;

#[test]
fn the_readme_lists_every_code_with_its_status() {
    let readme = include_str!("../../../README.md");
    let (_, table) = readme.split_once("<!-- codes -->").expect("the README marks its table");
    let rows = table.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).skip(2);
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        (cells[1].clone(), cells[2].clone())
    };
    let told: BTreeSet<_> = rows.map(row).collect();
    let known: BTreeSet<_> =
        Code::ALL.iter().map(|code| (code.status().as_u16().to_string(), code.as_str().to_owned())).collect();
    assert_eq!(told, known);
}
