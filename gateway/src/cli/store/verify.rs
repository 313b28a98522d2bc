//! `gateway store verify`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::place::{Place, ask_gateway, check_unused, fail};
use crate::causes::chain;
use crate::cli::{ConfigArgs, Output};
use crate::control::Request;
use crate::exit::Exit;
use crate::store::{Archive, Examiner, FILE, StoreError, Verdict};

/// Dead letters that are read at a time.
const LETTERS: usize = 256;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// A store that was copied or set aside, instead of the gateway's own
    file: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Result<Exit, Exit> {
    let (file, verdict) = match Place::find(arguments.file.as_deref(), config)? {
        Place::Gateway { state_dir, holder } => {
            let verdict = of_gateway(&state_dir, &holder)?;
            (state_dir.join(FILE), verdict)
        }
        Place::File(file) => {
            let verdict = of_file(&file)?;
            (file, verdict)
        }
    };
    let exit = if verdict.sound { Exit::Ok } else { Exit::Failure };
    Ok(match arguments.json {
        true => Output::lock().finish_json(&json!(verdict), exit),
        false => Output::lock().finish(&text(&file, &verdict), exit),
    })
}

fn of_gateway(state_dir: &Path, holder: &str) -> Result<Verdict, Exit> {
    let mut verdict = Verdict::default();
    ask_gateway(state_dir, holder, &Request::StoreVerify, |line| {
        match serde_json::from_str(line) {
            Ok(told) => verdict = told,
            Err(error) => verdict.problems.push(format!("the gateway's answer: {error}")),
        }
        true
    })?;
    Ok(verdict)
}

fn of_file(file: &Path) -> Result<Verdict, Exit> {
    let archive = match Archive::open(file) {
        Err(damage @ StoreError::Damaged { .. }) => {
            return Ok(Verdict { problems: vec![chain(&damage)], ..Verdict::default() });
        }
        opened => opened.map_err(|error| fail(&error))?,
    };
    let mut examiner = Examiner::new(archive.next(), archive.cursors());
    match archive.check() {
        Ok(findings) => {
            findings.into_iter().for_each(|f| examiner.handle_problem(format!("SQLite: {f}")));
        }
        Err(error) => examiner.handle_problem(chain(&error)),
    }
    let mut from = 1;
    while from < archive.next() {
        match archive.read(from) {
            Ok(chunks) => chunks.iter().for_each(|chunk| {
                from = chunk.end;
                examiner.handle_chunk(chunk);
            }),
            Err(error) => {
                examiner.handle_problem(format!("from number {from} on: {}", chain(&error)));
                break;
            }
        }
    }
    if let Err(error) = examine_letters(&archive, &mut examiner) {
        examiner.handle_problem(format!("dead letters: {}", chain(&error)));
    }
    check_unused(file).map_err(|error| fail(&error))?;
    Ok(examiner.finish())
}

fn examine_letters(archive: &Archive, examiner: &mut Examiner) -> Result<(), StoreError> {
    let mut after = Some(0);
    while let Some(id) = after {
        let page = archive.dead(id, LETTERS)?;
        examiner.handle_letters(&page);
        after = page.next_after;
    }
    Ok(())
}

fn text(file: &Path, verdict: &Verdict) -> String {
    let mut out = String::new();
    let word = if verdict.sound { "sound" } else { "damaged" };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{word}: {}", file.display());
    let _ = match verdict.first {
        Some(first) => writeln!(
            out,
            "  {} readings can be read, in {} chunks, numbers {first} to {}",
            verdict.records,
            verdict.chunks,
            verdict.next - 1
        ),
        None => writeln!(out, "  no reading can be read"),
    };
    for stretch in &verdict.damage {
        let _ = writeln!(out, "  {} to {}: {}", stretch.first, stretch.last, stretch.why);
    }
    let more = verdict.damaged.saturating_sub(verdict.damage.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "  and {more} more");
    }
    if verdict.damaged > 0 {
        let _ = writeln!(out, "  up to {} readings are lost", verdict.damaged_numbers);
    }
    if verdict.letters > 0 {
        let _ = writeln!(out, "  {} dead letters can be read", verdict.letters);
    }
    if verdict.damaged_letters > 0 {
        let _ = writeln!(out, "  {} dead letters are lost", verdict.damaged_letters);
    }
    for problem in &verdict.problems {
        let _ = writeln!(out, "  {problem}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Stretch;

    #[test]
    fn a_verdict_says_what_is_wrong_and_where() {
        let mut verdict = Verdict {
            sound: true,
            chunks: 2,
            records: 9,
            first: Some(3),
            next: 15,
            ..Verdict::default()
        };
        let text = |verdict: &Verdict| text(Path::new("spool.db"), verdict);
        assert_eq!(
            text(&verdict),
            "sound: spool.db\n  9 readings can be read, in 2 chunks, numbers 3 to 14\n"
        );
        verdict.sound = false;
        verdict.damage.push(Stretch { first: 5, last: 7, why: "missing".to_owned() });
        (verdict.damaged, verdict.damaged_numbers) = (3, 11);
        verdict.problems.push("SQLite: page 4 is never used".to_owned());
        assert_eq!(
            text(&verdict),
            "damaged: spool.db\n  9 readings can be read, in 2 chunks, numbers 3 to 14\n  \
             5 to 7: missing\n  and 2 more\n  up to 11 readings are lost\n  \
             SQLite: page 4 is never used\n"
        );
    }
}
