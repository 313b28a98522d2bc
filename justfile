# The same entry points for people and for CI. `just` lists them.

[private]
default:
    @just --list --unsorted

# Everything that has to pass before a change is merged
test:
    tests/run

# The quick part of it: format, compiler, clippy
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Format the code
fmt:
    cargo fmt --all

# Throughput on this machine
bench:
    cargo bench -p gateway --bench throughput

# A gateway, devices and a broker in one terminal
demo:
    cargo run --release -p gateway -- demo

# The documentation of the code
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Licences, doubled and banned crates, sources
deny:
    cargo deny check licenses bans sources

# Known vulnerabilities; needs the network
audit:
    cargo deny check advisories

# Write generated pages and expected messages anew; read the difference before it is committed
update-golden:
    UPDATE=1 cargo test -p gateway --test config --locked
    git --no-pager diff --stat

# Looks for inputs that break a check: `just fuzz senml 60`; needs a nightly compiler and cargo-fuzz
fuzz target seconds="60":
    fuzz/run {{target}} {{seconds}}
