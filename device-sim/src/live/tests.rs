use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::golden::assert_golden;

/// What stands on a terminal of this size.
fn screen(width: u16, height: u16, progress: &Progress, stopping: bool) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let palette = Palette::new(Colour::Never);
    terminal.draw(|frame| draw(frame, progress, stopping, &palette)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let rows = buffer.content().chunks(usize::from(width)).map(|row| {
        let row: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", row.trim_end())
    });
    rows.collect()
}

#[test]
fn golden_live_view() {
    let progress = sample::progress();
    assert_golden("live-wide.txt", &screen(120, 20, &progress, false));
    assert_golden("live-narrow.txt", &screen(80, 16, &progress, true));
}

#[test]
fn no_size_of_terminal_and_no_number_of_fleets_is_too_much() {
    let mut progress = sample::progress();
    progress.fleets = (0..40).map(|_| progress.fleets[0].clone()).collect();
    progress.faults = vec![("x".repeat(300), Duration::MAX); 9];
    progress.elapsed = Duration::MAX;
    for (width, height) in [(1, 1), (3, 2), (20, 5), (80, 24), (300, 100)] {
        screen(width, height, &progress, false);
        screen(width, height, &Progress::default(), false);
    }
    let shown = screen(100, 24, &progress, false);
    assert!(shown.contains("and 33 more; a higher terminal shows them"), "{shown}");
    assert!(shown.contains(" and 6 more"), "{shown}");
}

#[test]
fn lines_tell_what_happened_once_and_how_it_stands_now_and_then() {
    let mut lines = lines::Lines::new(Duration::from_secs(5));
    let mut progress = sample::progress();
    let log = std::mem::take(&mut progress.log);
    progress.elapsed = Duration::from_secs(1);
    assert_eq!(lines.handle_progress(&progress), "");
    progress.log = log.clone();
    let told = lines.handle_progress(&progress);
    assert_eq!(
        told,
        "  20.0s  lossy radio begins\n  24.5s  th-0007 temp, epoch 1 sequence 12: lost\n"
    );
    progress.log.remove(0);
    assert_eq!(
        lines.handle_progress(&progress),
        "",
        "each line once, also when the oldest is gone"
    );
    progress.elapsed = Duration::from_millis(31_250);
    assert_eq!(
        lines.handle_progress(&progress),
        "  31.2s  15\u{202f}605 sent, 15\u{202f}518 arrived, 80 on the way, 7 lost, 58.0 s left  [lossy radio]\n"
    );
    progress.elapsed += Duration::from_secs(4);
    assert_eq!(lines.handle_progress(&progress), "");
    progress.elapsed += Duration::from_secs(1);
    progress.stage = Stage::Settling;
    assert!(lines.handle_progress(&progress).contains("waiting for what is on its way"));
}
