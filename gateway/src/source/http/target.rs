//! What a path names.

/// All there is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// `/`, and what belongs to it.
    Page(&'static str),
    /// `/events`
    Events,
    /// `/r`
    Readings,
    /// `/r/{device}`
    Device(String),
    /// `/r/{device}/{name}`
    Value {
        /// Of this device.
        device: String,
        /// What was measured.
        name: String,
    },
    /// `/write` and `/api/v2/write`, as of InfluxDB 1 and 2
    Write {
        /// The parameter of the query.
        precision: Option<String>,
    },
    /// `/ping`, by which clients of InfluxDB ask whether it is there
    Ping,
    /// `/cmd/{device}`, where a device asks for a command
    Command {
        /// Which one.
        device: String,
        /// The parameter of the query.
        wait: Option<String>,
    },
    /// `/cmd/{device}/{id}`, where it says what became of it
    Outcome {
        /// Which one.
        device: String,
        /// The command.
        id: String,
    },
    /// `*`: the server itself (RFC 9110 §9.3.7).
    Server,
}

impl Target {
    /// What a path names, if anything; it may have a query.
    pub(super) fn of(path: &str) -> Option<Self> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parameter = |name: &str| {
            let mut parameters = query.split('&');
            parameters.find_map(|text| text.strip_prefix(name)).map(str::to_owned)
        };
        if ["/write", "/api/v2/write"].contains(&path) {
            return Some(Self::Write { precision: parameter("precision=") });
        }
        let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
        let path = [segments.next(), segments.next(), segments.next(), segments.next()];
        Some(match path {
            [Some(""), None, None, None] => Self::Page("page.html"),
            [Some("page.css"), None, None, None] => Self::Page("page.css"),
            [Some("page.js"), None, None, None] => Self::Page("page.js"),
            [Some("ping"), None, None, None] => Self::Ping,
            [Some("events"), None, None, None] => Self::Events,
            [Some("r"), None, None, None] => Self::Readings,
            [Some("r"), Some(device), None, None] => Self::Device(decoded(device)?),
            [Some("r"), Some(device), Some(name), None] => {
                Self::Value { device: decoded(device)?, name: decoded(name)? }
            }
            [Some("cmd"), Some(device), None, None] => {
                Self::Command { device: decoded(device)?, wait: parameter("wait=") }
            }
            [Some("cmd"), Some(device), Some(id), None] => {
                Self::Outcome { device: decoded(device)?, id: decoded(id)? }
            }
            [Some("*"), None, None, None] => Self::Server,
            _ => return None,
        })
    }

    /// The methods that it has.
    pub(super) const fn methods(&self) -> &'static str {
        match self {
            Self::Page(_) | Self::Events | Self::Ping => "GET, HEAD, OPTIONS",
            Self::Command { .. } => "GET, OPTIONS",
            Self::Write { .. } | Self::Outcome { .. } => "OPTIONS, POST",
            Self::Readings | Self::Device(_) | Self::Value { .. } => {
                "GET, HEAD, OPTIONS, POST, PUT"
            }
            Self::Server => "OPTIONS",
        }
    }
}

/// A segment without its percent-encoding (RFC 3986 §2.1); none where that is none, or not text.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_thing() {
        let device = |device: &str| Some(Target::Device(device.to_owned()));
        let value = |device: &str, name: &str| {
            Some(Target::Value { device: device.to_owned(), name: name.to_owned() })
        };
        let write = |precision: Option<&str>| {
            Some(Target::Write { precision: precision.map(str::to_owned) })
        };
        let command = |wait: Option<&str>| {
            Some(Target::Command { device: "v-1".to_owned(), wait: wait.map(str::to_owned) })
        };
        let outcome = Some(Target::Outcome { device: "v-1".to_owned(), id: "42".to_owned() });
        for (path, expected) in [
            ("/", Some(Target::Page("page.html"))),
            ("/r", Some(Target::Readings)),
            ("/r/th-1", device("th-1")),
            ("/r/th-1/temp", value("th-1", "temp")),
            ("/r/hall%201%2Fa/%c3%bc", value("hall 1/a", "ü")),
            ("*", Some(Target::Server)),
            ("/r?precision=s", Some(Target::Readings)),
            ("/write", write(None)),
            ("/write?db=x", write(None)),
            ("/api/v2/write?org=o&precision=s", write(Some("s"))),
            ("/cmd/v-1?wait=30", command(Some("30"))),
            ("/cmd/v%2D1", command(None)),
            ("/cmd/v-1/42", outcome.clone()),
            ("/cmd", None),
            ("/ping", Some(Target::Ping)),
            ("/api/v2/writes", None),
            ("/r/th-1/temp/x", None),
            ("/r/%", None),
            ("/r/%2", None),
            ("/r/%+1", None),
            ("/r/%ff", None),
            ("//r", None),
            ("/x", None),
            ("", Some(Target::Page("page.html"))),
        ] {
            assert_eq!(Target::of(path), expected, "{path}");
        }
    }
}
