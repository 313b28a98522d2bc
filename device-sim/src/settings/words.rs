//! Lists of names in sentences.

/// "`a`, `b` or `c`".
pub fn either(choices: &[&str]) -> String {
    joined(choices, " or ")
}

/// "`a`, `b` and `c`".
pub fn all_of(names: &[&str]) -> String {
    joined(names, " and ")
}

fn joined(names: &[&str], last: &str) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, rest)) => format!("{}{last}{end}", rest.join(", ")),
        None => String::new(),
    }
}
