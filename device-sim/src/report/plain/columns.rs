//! Columns of numbers, as wide as the longest of them needs.

use std::fmt::Write as _;

/// Columns of the name of a threshold, a phase, a fleet.
const NAME: usize = 20;
/// What is between a number and the column before it, at least.
const GAP: usize = 2;

/// How wide each column is.
pub(super) struct Columns<const N: usize>([usize; N]);

impl<const N: usize> Columns<N> {
    /// Room for every cell of `rows`, and for no less than `least`.
    pub(super) fn holding<'a>(
        least: [usize; N],
        rows: impl IntoIterator<Item = &'a [String; N]>,
    ) -> Self {
        Self(rows.into_iter().fold(least, |mut widths, row| {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count() + GAP);
            }
            widths
        }))
    }

    /// A row: a name, and its numbers at the right edges of their columns.
    pub(super) fn row(&self, name: &str, cells: &[String; N]) -> String {
        let mut line = fitted(name);
        for (cell, width) in cells.iter().zip(self.0) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:>width$}");
        }
        line
    }
}

/// A name in its column; one that is too long loses its end.
fn fitted(name: &str) -> String {
    match name.chars().count() {
        0..=NAME => format!("{name:<NAME$}"),
        _ => name.chars().take(NAME - 1).chain(['…']).collect(),
    }
}
