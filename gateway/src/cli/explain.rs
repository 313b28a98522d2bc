//! `gateway explain`

mod json;
mod text;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::Args;
use proto::Timestamp;

use super::store::time::Time;
use super::{ConfigArgs, Output, complain, complain_of, complain_usage};
use crate::clock;
use crate::config::{Config, Decode, Id, Link, Loaded, Report, Source};
use crate::exit::Exit;
use crate::explain::{Piece, Sample, explain, has_senders};
use crate::frame::Cutting;
use crate::pipeline::Verdict;

/// The longest sample that is read.
const MAX_SAMPLE: u64 = 16 << 20;

#[derive(Args)]
pub(super) struct Arguments {
    /// The source that reads it
    #[arg(long, value_name = "NAME")]
    source: String,
    /// The sample in hexadecimal: 'aa c0 d4'
    #[arg(long, value_name = "BYTES", group = "sample")]
    hex: Option<String>,
    /// The sample as text; a line feed is added where the source reads lines
    #[arg(long, value_name = "TEXT", group = "sample")]
    text: Option<String>,
    /// A file with the sample as it came; without any, standard input is read
    #[arg(long, value_name = "FILE", group = "sample")]
    file: Option<PathBuf>,
    /// Address of the device that sends it, for udp, tcp, coap and http links [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// Path of a CoAP or HTTP request, /r/th-1/temp [default: /r]; for coap-poll that of the resource
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Content-Format of a CoAP message: 110 is SenML in JSON
    #[arg(long, value_name = "NUMBER")]
    content_format: Option<u16>,
    /// Content-Type of an HTTP request: application/json
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The node that a coap-poll source has asked [default: the first]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The first register or coil that a Modbus unit was asked for, where its answer does not tell
    #[arg(long, value_name = "NUMBER")]
    address: Option<u16>,
    /// When it arrives: 2026-11-20T22:39:00Z, or 2h for two hours ago [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Time>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    let loaded = match load(config, &arguments.source) {
        Ok(loaded) => loaded,
        Err(report) => return complain(&report),
    };
    let (name, source) = match find(&loaded.config, &arguments.source) {
        Ok(found) => found,
        Err(problem) => return complain_usage(&problem),
    };
    let sample = match arguments.sample(source) {
        Ok(sample) => sample,
        Err(problem) => return complain_usage(&problem),
    };
    let pieces = match explain(&loaded.config, name, source, &sample) {
        Ok(pieces) => pieces,
        Err(error) => {
            complain_of(&error);
            return Exit::Config;
        }
    };
    let exit = if is_published(&pieces) { Exit::Ok } else { Exit::Failure };
    match arguments.json {
        true => Output::lock().finish_json(&json::of(name, &sample, &pieces), exit),
        false => Output::lock().finish(&text::of(name, source, &sample, &pieces), exit),
    }
}

/// Files that the configuration names are read only for nodes, which have their keys in one.
fn load(config: &ConfigArgs, source: &str) -> Result<Loaded, Report> {
    let loaded = config.load_partly()?;
    let decode = find(&loaded.config, source).ok().and_then(|(_, source)| source.decode.as_ref());
    let has_keys = matches!(decode, Some(Decode::Link(link)) if link.keys_file.is_some());
    if has_keys { config.load() } else { Ok(loaded) }
}

fn find<'a>(config: &'a Config, name: &str) -> Result<(&'a Id, &'a Source), String> {
    config.sources.iter().find(|(id, _)| id.as_str() == name).ok_or_else(|| {
        let names: Vec<_> = config.sources.keys().map(Id::as_str).collect();
        match names.is_empty() {
            true => "there are no sources; name a configuration with `-c FILE`".to_owned(),
            false => format!("there is no source `{name}`; there is {}", names.join(", ")),
        }
    })
}

/// Whether any broker gets anything.
fn is_published(pieces: &[Piece]) -> bool {
    let routed = pieces.iter().filter_map(|piece| piece.outcome.as_ref().ok()).flatten();
    routed.flat_map(|routed| &routed.routes).any(|explained| match &explained.verdict {
        Verdict::Taken(publishes) => publishes.iter().any(|(_, publish)| publish.is_ok()),
        Verdict::Gathered(outcome) => outcome.is_ok(),
        Verdict::NotTaken { .. } => false,
    })
}

impl Arguments {
    fn sample(&self, source: &Source) -> Result<Sample, String> {
        self.check(source)?;
        let now = self.at.map_or_else(clock::wall, |at| Timestamp::from_nanos(at.as_nanos()));
        Ok(Sample {
            bytes: self.bytes(source)?,
            from: self.from.unwrap_or(Ipv4Addr::LOCALHOST.into()),
            path: self.path.clone(),
            content_format: self.content_format,
            content_type: self.content_type.clone(),
            node: self.node.clone(),
            address: self.address,
            now,
        })
    }

    /// Options that the source has no use for are mistakes.
    fn check(&self, source: &Source) -> Result<(), String> {
        let link = &source.link;
        let is_coap = matches!(link, Link::Coap(_) | Link::CoapPoll(_));
        let is_http = matches!(link, Link::Http(_));
        for (is_given, fits, problem) in [
            (self.path.is_some(), is_coap || is_http, "--path is for coap, coap-poll and http"),
            (self.content_format.is_some(), is_coap, "--content-format is for coap and coap-poll"),
            (self.content_type.is_some(), is_http, "--content-type is for http"),
            (self.node.is_some(), matches!(link, Link::CoapPoll(_)), "--node is for coap-poll"),
            (self.address.is_some(), matches!(link, Link::Modbus(_)), "--address is for modbus"),
            (self.from.is_some(), has_senders(link), "--from is for udp, tcp, coap and http"),
        ] {
            if is_given && !fits {
                return Err(format!("{problem} sources"));
            }
        }
        Ok(())
    }

    fn bytes(&self, source: &Source) -> Result<Vec<u8>, String> {
        if let Some(hex) = &self.hex {
            return parse_hex(hex).ok_or_else(|| {
                "--hex takes two hexadecimal digits for each byte, such as 'aa c0 d4'".to_owned()
            });
        }
        if let Some(text) = &self.text {
            let is_stream =
                matches!(source.link, Link::Serial(_) | Link::Tcp(_) | Link::TcpClient(_));
            let is_line = is_stream && Cutting::of_source(source).is_lines();
            let end = if is_line && !text.ends_with('\n') { "\n" } else { "" };
            return Ok(format!("{text}{end}").into_bytes());
        }
        match &self.file {
            Some(path) => File::open(path)
                .and_then(read)
                .map_err(|error| format!("cannot read {}: {error}", path.display())),
            None if io::stdin().is_terminal() => {
                Err("no sample: give one with --hex, --text or --file, or pipe it in".to_owned())
            }
            None => read(io::stdin()).map_err(|error| format!("cannot read the sample: {error}")),
        }
    }
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_SAMPLE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SAMPLE {
        return Err(io::Error::other("it is longer than 16 MiB"));
    }
    Ok(bytes)
}

/// Pairs of digits, with white space, `:`, `,` or `0x` between them, as data sheets and programs
/// write them.
fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | '-'));
    let words = words.map(|word| word.strip_prefix("0x").unwrap_or(word));
    let pair = |pair: &[u8]| match pair {
        [high, low] => {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
        }
        _ => None,
    };
    words.flat_map(|word| word.as_bytes().chunks(2)).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_as_people_write_it() {
        for text in ["aac0d4", "AA C0\nD4", "aa:c0:d4", "0xaa, 0xc0, 0xd4", " aac0 d4 "] {
            assert_eq!(parse_hex(text), Some(vec![0xaa, 0xc0, 0xd4]), "{text}");
        }
        assert_eq!(parse_hex(""), Some(Vec::new()));
        for text in ["a", "aa c", "xx", "aa 0xc"] {
            assert_eq!(parse_hex(text), None, "{text}");
        }
    }
}
