use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// The true time at which a simulation begins.
const BEGIN: i64 = 1_790_000_000 * SECOND;

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn uptime(nanos: i64) -> Instant {
    Instant::from_micros(u64::try_from(nanos / 1000).unwrap())
}

fn id(boot: u8) -> BootId {
    BootId([boot; 16])
}

fn moment(boot: u8, nanos: i64) -> Moment {
    Moment { boot: id(boot), uptime: uptime(nanos) }
}

fn clocks(boot: u8, since: i64, wall: i64) -> Clocks {
    Clocks { moment: moment(boot, since), wall: at(wall) }
}

/// What the clock of a board says after a start.
#[derive(Clone, Copy, Debug)]
enum Clock {
    /// It begins with 1970.
    Epoch,
    /// It goes on where it was when the board went off, as with `fake-hwclock`.
    Saved,
    /// It is wrong by so many nanoseconds.
    Off(i64),
    /// It is right, and nobody knows.
    Right,
}

/// One boot of a simulated board.
#[derive(Clone, Debug)]
struct Life {
    off: i64,
    on: i64,
    clock: Clock,
    /// After which share of it, in hundredths, somebody sets the clock wrong by so much.
    step: Option<(i64, i64)>,
    /// After which share of it, in hundredths, the clock is synchronised.
    synchronised: Option<i64>,
    /// After which share of it the gateway starts once more.
    restart: Option<i64>,
}

/// Something that was stored.
#[derive(Clone, Debug)]
struct Stored {
    truth: i64,
    received: Timestamp,
    moment: Option<Moment>,
    boot: usize,
}

/// A board, its gateway's time base, and what the store has.
#[derive(Default)]
struct Board {
    base: TimeBase,
    stored: Vec<Stored>,
    truth: i64,
    wall: i64,
    boots: u8,
    known: Vec<bool>,
    began: Vec<i64>,
    ended: Vec<i64>,
}

impl Board {
    fn new() -> Self {
        Self { truth: BEGIN, wall: BEGIN, ..Self::default() }
    }

    /// The gateway starts: from what it remembered, and the newest record.
    fn start(&mut self) {
        self.base = TimeBase::new(self.base.boots().to_vec());
        if let Some(newest) = self.stored.last() {
            let n = u64::try_from(self.stored.len()).unwrap();
            self.base.handle_newest(n, newest.received, newest.moment);
        }
    }

    /// Lives through a boot, in which something is stored `count` times.
    fn live(&mut self, life: &Life, count: i64) {
        self.truth += life.off;
        let began = self.truth;
        let mut wrong = match life.clock {
            Clock::Epoch => -began,
            Clock::Saved => self.wall - began,
            Clock::Off(by) => by,
            Clock::Right => 0,
        };
        self.boots += 1;
        self.began.push(began);
        let share = |hundredths: i64| hundredths * count / 100;
        let mut is_synchronised = false;
        self.start();
        for step in 0..count {
            self.truth = began + life.on * (step + 1) / count;
            if let Some((_, by)) =
                life.step.filter(|(when, _)| share(*when) == step && !is_synchronised)
            {
                wrong = by;
            }
            if life.synchronised.map(share) == Some(step) {
                (wrong, is_synchronised) = (0, true);
            }
            if life.restart.map(share) == Some(step) {
                self.start();
            }
            self.wall = self.truth + wrong;
            let now = clocks(self.boots, self.truth - began, self.wall);
            let next = u64::try_from(self.stored.len() + 1).unwrap();
            self.base.observe(now, is_synchronised, next);
            self.stored.push(Stored {
                truth: self.truth,
                received: now.wall,
                moment: self.base.stamp(now.moment),
                boot: usize::from(self.boots) - 1,
            });
        }
        self.known.push(is_synchronised);
        self.ended.push(self.truth);
    }

    /// The time of a stored thing, as it would be published now.
    fn dated(&self, stored: &Stored) -> Dated {
        match stored.moment {
            Some(moment) => self.base.date(moment, stored.received),
            None => Dated { time: stored.received, is_known: true },
        }
    }

    /// What holds whatever happened.
    fn check(&self) {
        let mut before = i64::MIN;
        for stored in &self.stored {
            let Dated { time, is_known } = self.dated(stored);
            let time = time.as_nanos();
            assert!(time >= before, "the order is kept: {stored:?}, {time} after {before}");
            before = time;
            let off = (time - stored.truth).abs();
            assert_eq!(is_known, self.known[stored.boot], "{stored:?}");
            if is_known {
                assert!(off <= 2000, "exact, but for microseconds: {stored:?} is off by {off} ns");
                continue;
            }
            let former = self.known[..stored.boot].iter().rposition(|known| *known);
            let later = self.known[stored.boot..].iter().position(|known| *known);
            if let Some(former) = former {
                assert!(time >= self.ended[former] - 2000, "{stored:?} {time}");
            }
            if let Some(later) = later {
                assert!(time <= self.began[stored.boot + later] + 2000, "{stored:?} {time}");
            }
        }
    }
}

fn claims() -> impl Strategy<Value = Clock> {
    prop_oneof![
        Just(Clock::Epoch),
        Just(Clock::Saved),
        (-4000 * DAY..4000 * DAY).prop_map(Clock::Off),
        Just(Clock::Right),
    ]
}

fn lives(synchronised: f64) -> impl Strategy<Value = Life> {
    (
        SECOND..5 * DAY,
        HOUR..10 * DAY,
        claims(),
        proptest::option::weighted(0.3, (0..100_i64, -4000 * DAY..4000 * DAY)),
        proptest::option::weighted(synchronised, 0..100_i64),
        proptest::option::weighted(0.3, 0..100_i64),
    )
        .prop_map(|(off, on, clock, step, synchronised, restart)| Life {
            off,
            on,
            clock,
            step,
            synchronised,
            restart,
        })
}

proptest! {
    #[test]
    fn over_any_boots_the_order_is_kept_and_estimates_lie_between_what_is_known(
        lives in proptest::collection::vec(lives(0.4), 1..20),
    ) {
        let mut board = Board::new();
        for life in lives {
            board.live(&life, 40);
            board.check();
        }
    }

    /// About a year, or two.
    #[test]
    fn a_year_without_synchronisation_is_dated_when_it_comes_at_last(
        mut lives in proptest::collection::vec(lives(0.5), 60..120),
        first in any::<bool>(),
    ) {
        for (at, life) in lives.iter_mut().enumerate() {
            life.synchronised = (first && at == 0).then_some(0);
        }
        let mut board = Board::new();
        for (at, life) in lives.iter().enumerate() {
            if at + 1 == lives.len() {
                board.live(&Life { synchronised: Some(90), ..life.clone() }, 40);
            } else {
                board.live(life, 40);
            }
        }
        board.check();
        let last = board.stored.iter().filter(|stored| stored.boot + 1 == lives.len());
        prop_assert!(last.clone().any(|stored| stored.moment.is_some()));
        for stored in last {
            prop_assert!((board.dated(stored).time.as_nanos() - stored.truth).abs() <= 2000);
        }
        // Distances within a boot are those that were measured.
        for pair in board.stored.windows(2).filter(|pair| pair[0].boot == pair[1].boot) {
            let distance = board.dated(&pair[1]).time.as_nanos() - board.dated(&pair[0]).time.as_nanos();
            prop_assert!((distance - (pair[1].truth - pair[0].truth)).abs() <= 2000);
        }
    }

    #[test]
    fn an_age_is_never_more_than_the_true_one(
        lives in proptest::collection::vec(lives(0.4), 1..20),
    ) {
        let mut board = Board::new();
        for life in &lives {
            board.live(life, 20);
            let now = moment(board.boots, board.truth - board.began.last().unwrap());
            for stored in &board.stored {
                let Some(then) = stored.moment else { continue };
                let age = i64::try_from(board.base.age(then, now).as_nanos()).unwrap();
                prop_assert!(age <= board.truth - stored.truth + 4000, "{stored:?}");
                let is_exact = board.known[stored.boot] && *board.known.last().unwrap()
                    || stored.boot + 1 == board.known.len();
                prop_assert!(!is_exact || age >= board.truth - stored.truth - 4000, "{stored:?}");
            }
        }
    }

    #[test]
    fn what_is_not_needed_any_more_moves_nothing_that_is(
        lives in proptest::collection::vec(lives(0.3), 1..20),
        pending in 0..800_usize,
    ) {
        let mut board = Board::new();
        lives.iter().for_each(|life| board.live(life, 40));
        let pending = pending.min(board.stored.len() - 1);
        let dates = |board: &Board| -> Vec<Dated> {
            board.stored[pending..].iter().map(|stored| board.dated(stored)).collect()
        };
        let before = dates(&board);
        board.base.forget_before(u64::try_from(pending + 1).unwrap());
        prop_assert_eq!(dates(&board), before);
        let needed = lives.len() - board.stored[pending].boot;
        prop_assert!(board.base.boots().len() <= needed + 1);
    }
}

#[test]
fn a_clock_without_a_record_of_boots_is_trusted() {
    let base = TimeBase::default();
    assert!(base.is_synchronised());
    assert_eq!(base.stamp(moment(1, SECOND)), None);
    assert_eq!(base.now(clocks(1, SECOND, 5)), at(5));
}

#[test]
fn a_step_of_a_synchronised_clock_is_counted_and_dates_nothing_anew() {
    let mut base = TimeBase::default();
    assert!(base.observe(clocks(1, 0, 0), false, 1));
    let then = moment(1, SECOND);
    assert_eq!(base.stamp(then), Some(then));
    assert!(base.observe(clocks(1, 2 * SECOND, BEGIN + 2 * SECOND), true, 2));
    let dated = Dated { time: at(BEGIN + SECOND), is_known: true };
    assert_eq!((base.date(then, at(SECOND)), base.steps()), (dated, 1));
    assert_eq!(base.synchronised_since(), Some(at(BEGIN + 2 * SECOND)));
    for wall in [BEGIN - 4 * DAY, BEGIN + 9 * DAY] {
        assert!(!base.observe(clocks(1, 3 * SECOND, wall), true, 2));
        assert_eq!(base.date(then, at(SECOND)), dated);
    }
    assert_eq!(base.steps(), 3);
    assert!(base.is_synchronised(), "it goes on when the service does not answer any more");
    base.observe(clocks(1, 4 * SECOND, BEGIN + 9 * DAY), false, 2);
    assert!(base.is_synchronised());
}

#[test]
fn a_clock_that_goes_on_where_it_was_estimates_from_there() {
    let mut base = TimeBase::default();
    base.observe(clocks(1, 0, BEGIN), true, 1);
    base = TimeBase::new(base.boots().to_vec());
    base.handle_newest(3, at(BEGIN + HOUR), None);
    base.observe(clocks(2, 0, BEGIN + 2 * HOUR), false, 4);
    let estimate = |base: &TimeBase| base.date(moment(2, HOUR), at(0)).time.as_nanos() - BEGIN;
    assert_eq!(estimate(&base), 3 * HOUR);
    // One that went back cannot be right.
    base.observe(clocks(2, HOUR, 0), false, 4);
    assert_eq!(estimate(&base), 2 * HOUR);
    // Nor one that is ahead of what follows.
    base.observe(clocks(2, HOUR, BEGIN + 9 * DAY), false, 4);
    base.handle_newest(5, at(0), Some(moment(2, 2 * HOUR)));
    base.observe(clocks(3, 0, BEGIN + DAY), true, 6);
    assert_eq!(estimate(&base), DAY - HOUR);
}

#[test]
fn a_clock_that_is_not_synchronised_makes_nothing_old() {
    let mut base = TimeBase::default();
    base.observe(clocks(1, 0, BEGIN), true, 1);
    base.handle_newest(3, at(BEGIN + HOUR), None);
    let now = clocks(2, 10 * SECOND, BEGIN + 400 * DAY);
    base.observe(now, false, 4);
    assert_eq!(base.now(now), at(BEGIN + HOUR + 10 * SECOND));
}

#[test]
fn more_boots_than_there_is_room_for_cost_the_oldest_their_dates_and_not_the_order() {
    let mut base = TimeBase::default();
    base.observe(clocks(0, 0, BEGIN), true, 1);
    let boot = |number: usize| {
        let mut id = [9; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        Moment { boot: BootId(id), uptime: uptime(HOUR) }
    };
    for number in 0..MAX_BOOTS + 5 {
        let n = u64::try_from(number).unwrap();
        base.observe(Clocks { moment: boot(number), wall: at(HOUR) }, false, n + 2);
        base.handle_newest(n + 2, at(HOUR), Some(boot(number)));
    }
    assert_eq!(base.boots().len(), MAX_BOOTS);
    let date = |number| base.date(boot(number), at(HOUR));
    assert!(date(0).time >= at(BEGIN) && !date(0).is_known);
    assert!((0..MAX_BOOTS + 4).all(|number| date(number).time <= date(number + 1).time));
}
