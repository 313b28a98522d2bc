//! Which registers are read together.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Point, Read};

/// Most points of a block: a request for coils could have more.
const MAX_POINTS: usize = 1000;
/// Coils in the place of a register.
const BITS: u16 = 16;

/// What a unit allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most registers that nobody wants and that are read along, because one request costs less than
    /// two. A device may refuse to read registers that it does not have, so 0 reads none.
    pub gap: u16,
    /// Most registers of a request; of coils 16 times as many.
    pub registers: u16,
}

/// Points that one request reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// What is asked for.
    pub read: Read,
    /// Positions of the points.
    pub points: Vec<usize>,
    /// Time between two reads.
    pub interval: Duration,
}

/// Reads points of one table and interval that lie together at once.
#[must_use]
pub fn plan(points: &[Point], limits: Limits) -> Vec<Block> {
    let all: Vec<usize> = (0..points.len()).collect();
    group(points, &all, |block, next| {
        let table = block.table();
        let scale = if table.is_bits() { BITS } else { 1 };
        let max = limits.registers.saturating_mul(scale).min(table.max_read());
        let end = block.end().max(next.end());
        let gap = u32::from(limits.gap) * u32::from(scale);
        let is_near = u32::from(next.address()) <= block.end() + gap;
        let count = u16::try_from(end - u32::from(block.address())).ok()?;
        (is_near && count <= max).then_some(count)
    })
}

/// Reads each of the points of a block for itself, but for those within the registers of another.
pub(super) fn apart(points: &[Point], block: &Block) -> Vec<Block> {
    group(points, &block.points, |block, next| (next.end() <= block.end()).then_some(block.count()))
}

/// Puts a point into the block before it where `joined` says how long the block is then.
fn group(
    points: &[Point],
    wanted: &[usize],
    joined: impl Fn(Read, Read) -> Option<u16>,
) -> Vec<Block> {
    let mut sorted: Vec<(usize, &Point)> =
        wanted.iter().filter_map(|at| Some((*at, points.get(*at)?))).collect();
    // The longest first of those that begin together.
    sorted.sort_by_key(|(_, point)| {
        let read = point.read();
        (point.interval(), read.table(), read.address(), u16::MAX - read.count())
    });
    let mut blocks: Vec<Block> = Vec::new();
    for (position, point) in sorted {
        let (read, interval) = (point.read(), point.interval());
        let last = blocks.last_mut().filter(|block| {
            let is_kin = block.interval == interval && block.read.table() == read.table();
            is_kin && block.points.len() < MAX_POINTS
        });
        let whole = last.and_then(|block| {
            let count = joined(block.read, read)?;
            Some((Read::new(read.table(), block.read.address(), count)?, block))
        });
        match whole {
            Some((whole, block)) => {
                block.read = whole;
                block.points.push(position);
            }
            None => blocks.push(Block { read, points: vec![position], interval }),
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Order, Table};
    use super::*;

    fn point(table: Table, address: u16, format: Format, seconds: u64) -> Point {
        let interval = Duration::from_secs(seconds);
        Point::new(table, address, format, Order::Abcd, interval).unwrap()
    }

    fn input(address: u16, format: Format) -> Point {
        point(Table::InputRegisters, address, format, 1)
    }

    fn spans(blocks: &[Block]) -> Vec<(u16, u16, usize)> {
        blocks.iter().map(|b| (b.read.address(), b.read.count(), b.points.len())).collect()
    }

    const CLOSE: Limits = Limits { gap: 0, registers: 125 };

    #[test]
    fn adjacent_registers_are_one_request_whatever_their_order() {
        let points = [input(4, Format::F32), input(0, Format::U32), input(2, Format::U32)];
        assert_eq!(spans(&plan(&points, CLOSE)), [(0, 6, 3)]);
        assert_eq!(plan(&points, CLOSE)[0].points, [1, 2, 0]);
    }

    #[test]
    fn a_gap_is_read_only_where_that_is_allowed() {
        let points = [input(0, Format::U16), input(3, Format::U16)];
        assert_eq!(spans(&plan(&points, CLOSE)), [(0, 1, 1), (3, 1, 1)]);
        let one = Limits { gap: 1, ..CLOSE };
        assert_eq!(spans(&plan(&points, one)), [(0, 1, 1), (3, 1, 1)]);
        let two = Limits { gap: 2, ..CLOSE };
        assert_eq!(spans(&plan(&points, two)), [(0, 4, 2)]);
    }

    #[test]
    fn no_request_is_longer_than_the_unit_or_the_standard_allows() {
        let points: Vec<_> = (0..100).map(|at| input(at * 2, Format::U32)).collect();
        assert_eq!(spans(&plan(&points, CLOSE)), [(0, 124, 62), (124, 76, 38)]);
        let small = Limits { gap: 0, registers: 5 };
        assert!(plan(&points, small).iter().all(|block| block.read.count() == 4));
        let coils: Vec<_> = (0..2100).map(|at| point(Table::Coils, at, Format::Bool, 1)).collect();
        let blocks = plan(&coils, CLOSE);
        assert_eq!(spans(&blocks), [(0, 1000, 1000), (1000, 1000, 1000), (2000, 100, 100)]);
    }

    #[test]
    fn tables_and_intervals_are_asked_for_on_their_own() {
        let points = [
            input(0, Format::U16),
            point(Table::HoldingRegisters, 1, Format::U16, 1),
            point(Table::InputRegisters, 1, Format::U16, 60),
        ];
        assert_eq!(plan(&points, CLOSE).len(), 3);
    }

    #[test]
    fn bits_of_one_register_stay_together_also_apart() {
        let points = [
            input(0, Format::U16),
            input(1, Format::Bit(0)),
            input(1, Format::Bit(7)),
            input(2, Format::U32),
            input(3, Format::U16),
        ];
        let blocks = plan(&points, CLOSE);
        assert_eq!(spans(&blocks), [(0, 4, 5)]);
        assert_eq!(spans(&apart(&points, &blocks[0])), [(0, 1, 1), (1, 1, 2), (2, 2, 2)]);
    }
}
