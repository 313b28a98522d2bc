//! What the operator wants: layers of text become one checked [`Config`].
//!
//! Layers, the weakest first: defaults (in [`model`]), what the service manager hands over, files in
//! the order of the command line, `GATEWAY_*` variables, `--set`. The crate `config` merges them;
//! everything that has to do with people is here:
//!
//! 1. [`toml_file`] and [`setting`] read a layer and remember where each value stands ([`layer`]).
//! 2. [`fit()`] turns the merged [`tree`] into types through a deserializer that never guesses
//!    ([`strict`]): a value that does not fit is told, taken out, and the rest tried again.
//! 3. [`checks`] looks at rules between keys; [`password`], [`mod@tls`] and [`node_list`] read the
//!    files that keys name, which [`files`] finds.
//! 4. [`report`] shows every problem of the run with its place; [`source_file`] keeps secrets out.
//!
//! [`shape`] is the schema of the types in [`model`]: suggestions, secrets, the manual ([`mod@manual`])
//! and `config show` ([`show`]) come from it.
//!
//! Invariants: a [`Config`] that exists is valid. A secret is in no message. One mistake is told
//! once. No input makes this panic.

mod checks;
mod files;
mod link_keys;
mod manual;
pub(crate) mod model;
mod node_list;
mod password;
mod setting;
mod show;
mod tls;
pub(crate) mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use device_sim::settings::{
    findings, fit, layer, report, shape, source_file, strict, suggest, toml_file, tree, words,
};
use files::Finder;
use findings::Findings;
use layer::Layers;
use shape::Shape;
use tree::Node;

pub(crate) use manual::manual;
pub(crate) use model::{
    Accept, Aggregate, BinaryDecode, BinaryField, BinaryItems, BinaryType, BinaryWhen, Broker,
    BusPlace, Checksum, Clock, CoapLink, CoapMethod, CoapPollLink, CoapVia, Commands, Config,
    Counts, CsvDecode, DataBits, DatagramFrame, Decode, Endian, FileVia, Frame, Gateway, Group,
    HttpLink, JsonDecode, KeyvalueDecode, LengthBytes, LengthPrefixedFrame, Link, LinkDecode,
    ListedNode, ModbusLink, ModbusUnit, ModbusVia, Operation, Parity, Payload, Poll, PollResource,
    Protocol, PubSub, Qos, Register, RegisterOrder, Route, Rs485, SendVia, SerialLink, Source,
    Statistic, StopBits, TcpClientLink, TcpLink, TemplateCheck, TemplateLength, TimeUnit, Tls,
    UdpLink, UdpPoll, Uploads, ValueDecode, ValueRule, Via, default_idle,
};
pub(crate) use node_list::{NodeListError, reread as reread_node_list};
pub(crate) use report::{Report, reason};
pub(crate) use setting::{Assignment, CREDENTIALS_DIRECTORY, PREFIX, STATE_DIRECTORY};
#[cfg(test)]
pub(crate) use values::ByteSize;
pub(crate) use values::{
    BrokerUrl, BrokerUrls, Filling, FrameSize, HexBytes, HostPort, Id, Interval, JsonPath,
    LinkFilter, NamedFile, Network, NodeUrl, ResourcePath, Secret, ServerName, UnitAddress,
    Unsendable,
};

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoadOptions {
    /// Files, the weakest first.
    pub(crate) files: Vec<PathBuf>,
    /// The environment: `GATEWAY_*`, `STATE_DIRECTORY` and `CREDENTIALS_DIRECTORY` are looked at.
    pub(crate) env: BTreeMap<String, OsString>,
    /// `--set` arguments, the weakest first.
    pub(crate) set: Vec<Assignment>,
    /// Whether a gateway is to run with it: then a source, a broker and a route must be there, and
    /// the files of TLS, which are being replaced now and then while a gateway runs.
    pub(crate) to_run: bool,
}

/// A valid configuration.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// What the operator wants.
    pub(crate) config: Config,
    layers: Layers,
    shape: Shape,
}

/// Reads all layers and checks them.
///
/// # Errors
///
/// Every problem in any layer.
pub(crate) fn load(options: &LoadOptions) -> Result<Loaded, Report> {
    let shape = Shape::of::<Config>();
    let mut findings = Findings::new("configuration");
    let layers = read_layers(options, &shape, &mut findings);
    let mut tree = layers.merge().unwrap_or_else(|_| Node::Table(BTreeMap::new()));
    setting::coerce(&mut tree, &layers, &shape);

    let mut config = fit(tree.clone(), &layers, &shape, &mut findings).unwrap_or_default();
    if options.to_run {
        checks::check_parts(&tree, &layers, &mut findings);
    }
    checks::check(&config, &tree, &layers, &mut findings);
    let credentials = options.env.get(CREDENTIALS_DIRECTORY);
    let finder = Finder::new(credentials);
    password::read_all(&mut config, &finder, &layers, &mut findings);
    if options.to_run {
        link_keys::check_all(&mut config, &finder, &layers, &mut findings);
        tls::check_all(&mut config, &finder, &layers, &mut findings);
        node_list::read_all(&mut config, &finder, &layers, &mut findings);
    }
    match findings.into_report() {
        Some(report) => Err(report),
        None => Ok(Loaded { config, layers, shape }),
    }
}

/// The JSON Schema of configuration files.
pub(crate) fn schema() -> serde_json::Value {
    shape::schema::<Config>("Configuration of the gateway")
}

fn read_layers(options: &LoadOptions, shape: &Shape, findings: &mut Findings) -> Layers {
    let mut layers = Layers::default();
    layers.extend(setting::from_service(&options.env));
    for file in &options.files {
        let layer = toml_file::read(file, layers.next_position(), shape, findings);
        layers.extend(layer);
    }
    setting::add_environment(&mut layers, &options.env, shape, findings);
    setting::add_assignments(&mut layers, &options.set, shape);
    layers
}

#[cfg(test)]
mod tests {
    use super::tree::KeyPath;
    use super::*;

    #[test]
    fn the_shape_knows_keys_types_and_secrets() {
        let shape = Shape::of::<Config>();
        let tree = Node::Table(BTreeMap::new());
        let at = |path: &str| KeyPath::of(path.split('.'));
        assert!(shape.is_secret(&at("brokers.x.password"), &tree));
        assert!(!shape.is_secret(&at("brokers.x.password_file"), &tree));
        assert!(
            matches!(shape.at(&at("sources.x.link"), &tree), Some(Shape::Tagged(v)) if v.contains_key("coap"))
        );
        assert!(matches!(shape.at(&at("sources.x.decode"), &tree), Some(Shape::Tagged(_))));
        assert!(
            matches!(shape.at(&at("brokers.x.window"), &tree), Some(Shape::Leaf(l)) if l.integer)
        );
        assert!(matches!(shape.at(&at("routes.x.to"), &tree), Some(Shape::List(_))));
        assert!(shape.at(&at("brokers.x.nothing"), &tree).is_none());
    }

    #[test]
    fn a_key_in_the_wrong_table_is_sent_to_the_right_one() {
        let Shape::Table(root) = Shape::of::<Config>() else { panic!("the root is a table") };
        let Shape::Named(source) = &root.keys["sources"].shape else {
            panic!("sources have names")
        };
        let help = suggest::for_key("baud", source, None).unwrap();
        assert_eq!(help, "`baud` belongs into `link`: did you mean `link.baud`?");
        let Shape::Table(table) = &**source else { panic!("a source is a table") };
        let help = suggest::for_key("path", &table.keys["link"].shape, Some("udp")).unwrap();
        assert_eq!(help, "`path` is a key of `type = \"serial\"`");
    }
}
