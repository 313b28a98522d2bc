//! Texts that are kept as files and compared; `UPDATE=1 cargo test -p device-sim --lib golden` writes
//! them anew.

use std::path::Path;

/// Fails unless `text` is what the file under `src/golden` holds.
#[track_caller]
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/golden").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(text.lines()).position(|(expected, line)| expected != line);
    let at = differs.unwrap_or_else(|| expected.lines().count().min(text.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
    assert!(
        expected == text,
        "{}:{}: expected {:?}, got {:?}; UPDATE=1 writes it anew",
        path.display(),
        at + 1,
        line(&expected),
        line(text)
    );
}
