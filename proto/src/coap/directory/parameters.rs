//! The parameters of a registration or its update, as the query says them (RFC 9176 §5, §5.3.1).

use alloc::string::String;
use alloc::vec::Vec;

use super::super::Request;
use super::super::link_format::Link;
use super::DirectoryFault;
use super::reference::check_base;

/// The longest name of an endpoint or a sector, in bytes.
const MAX_NAME: usize = 63;
/// Names that mean something else in a lookup, or that the directory gives itself.
const RESERVED: &[&str] = &["page", "count", "rt", "href", "anchor"];
/// The place for the attributes of an endpoint.
const NOWHERE: &str = "/";

/// What a query says.
#[derive(Debug)]
pub(super) struct Parameters {
    pub(super) endpoint: Option<String>,
    pub(super) sector: Option<String>,
    pub(super) lifetime_s: Option<u32>,
    pub(super) base: Option<String>,
    /// All others, which the directory stores as they are.
    pub(super) attributes: Vec<(String, Option<String>)>,
}

impl Parameters {
    pub(super) fn of(request: &Request) -> Result<Self, DirectoryFault> {
        let mut parameters = Self {
            endpoint: None,
            sector: None,
            lifetime_s: None,
            base: None,
            attributes: Vec::new(),
        };
        for argument in request.queries() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument, None),
            };
            let text = value.unwrap_or_default();
            let known = match name {
                "ep" => parameters.endpoint.replace(check_name("ep", text)?).is_some(),
                "d" => parameters.sector.replace(check_name("d", text)?).is_some(),
                "lt" => parameters.lifetime_s.replace(lifetime(text)?).is_some(),
                "base" => {
                    check_base(text)?;
                    parameters.base.replace(text.into()).is_some()
                }
                _ => {
                    parameters.attributes.push((name.into(), value.map(String::from)));
                    RESERVED.contains(&name)
                }
            };
            if known {
                return Err(DirectoryFault::Parameter(name.into()));
            }
        }
        add(Link::new(NOWHERE)?, &parameters.attributes)?;
        Ok(parameters)
    }

    /// Sector and endpoint name.
    pub(super) fn name(&self) -> Result<(Option<String>, String), DirectoryFault> {
        let endpoint = self.endpoint.clone().ok_or(DirectoryFault::NoName)?;
        Ok((self.sector.clone(), endpoint))
    }
}

/// Adds attributes to a link.
pub(super) fn add(
    link: Link,
    attributes: &[(String, Option<String>)],
) -> Result<Link, DirectoryFault> {
    let added = attributes.iter().try_fold(link, |link, (name, value)| match value {
        Some(value) => link.with(name, value),
        None => link.with_flag(name),
    });
    Ok(added?)
}

fn check_name(what: &'static str, name: &str) -> Result<String, DirectoryFault> {
    // RFC 9176 §5: not 0 to 31 and not 127 to 159, which are the control characters.
    if (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control) {
        Ok(name.into())
    } else {
        Err(DirectoryFault::Name(what))
    }
}

fn lifetime(text: &str) -> Result<u32, DirectoryFault> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let lifetime = text.parse().ok().filter(|&seconds| is_number && seconds > 0);
    lifetime.ok_or(DirectoryFault::Lifetime)
}
