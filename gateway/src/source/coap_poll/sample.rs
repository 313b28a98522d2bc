//! What a representation says, also one that nobody was asked for.

use proto::{Reading, Timestamp};

use super::wanted::{Wanted, What};
use crate::config::{CoapPollLink, ResourcePath};
use crate::decode::{DecodeError, Draft, Reader, decode_resource};

/// A representation that a node could send.
pub(crate) struct Sample<'a> {
    /// The node; the first one where none is named.
    pub(crate) node: Option<&'a str>,
    /// Where it is; the first path that the node is asked for where there is none.
    pub(crate) path: Option<&'a str>,
    /// Its Content-Format, if the node tells it.
    pub(crate) format: Option<u16>,
    pub(crate) payload: &'a [u8],
}

/// Why a representation is no reading.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SampleError {
    #[error("the source has no nodes of its own; name one")]
    NoNode,
    #[error("nothing is asked of `{node}`")]
    Nothing { node: String },
    #[error("`{node}` is not asked for {path}; it is asked for {paths}")]
    Path { node: String, path: String, paths: String },
    #[error("Content-Format {format} is none that holds readings")]
    Format { format: u16 },
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl SampleError {
    /// A short name.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::NoNode | Self::Nothing { .. } | Self::Path { .. } => "not_asked",
            Self::Format { .. } => "content_format",
            Self::Decode(error) => error.reason(),
        }
    }
}

/// What a representation of what is `wanted` says, which is called `name` where it does not name
/// itself; `None` where its format holds no readings.
pub(super) fn decode(
    (format, payload): (Option<u16>, &[u8]),
    name: &str,
    wanted: &Wanted,
    own_names: bool,
    now: Timestamp,
) -> Option<Result<Vec<Draft>, DecodeError>> {
    let drafts = decode_resource(format, payload, (name, wanted.unit.as_deref()), now)?;
    Some(drafts.map(|mut drafts| {
        if !own_names {
            drafts.iter_mut().for_each(|draft| draft.device = None);
        }
        drafts
    }))
}

/// The readings of a sample that arrives `now`.
pub(crate) fn representation_readings(
    reader: &Reader,
    link: &CoapPollLink,
    sample: &Sample<'_>,
    now: Timestamp,
) -> Result<Vec<Reading>, SampleError> {
    let own = link.nodes.keys().map(|name| name.as_str());
    let node = sample.node.or_else(|| own.chain(link.listed.iter().map(|n| &*n.name)).next());
    let node = node.ok_or(SampleError::NoNode)?;
    let wanted = Wanted::all(link);
    let of_node: Vec<_> = wanted.iter().filter(|wanted| wanted.nodes.matches(node)).collect();
    let (wanted, name) = find(&of_node, sample.path).ok_or_else(|| match sample.path {
        _ if of_node.is_empty() => SampleError::Nothing { node: node.to_owned() },
        path => SampleError::Path {
            node: node.to_owned(),
            path: path.unwrap_or("a path that is known beforehand").to_owned(),
            paths: of_node.iter().map(|wanted| path_of(wanted)).collect::<Vec<_>>().join(", "),
        },
    })?;
    let drafts = decode((sample.format, sample.payload), &name, wanted, link.own_names, now);
    let format = sample.format.unwrap_or_default();
    let drafts = drafts.ok_or(SampleError::Format { format })??;
    Ok(reader.complete(drafts, || node.to_owned(), now)?)
}

/// What is wanted at a path, or the first of all, and what a reading of it is called.
fn find<'a>(
    all: &[&'a std::sync::Arc<Wanted>],
    path: Option<&str>,
) -> Option<(&'a Wanted, String)> {
    let name =
        |wanted: &Wanted, path: &ResourcePath| wanted.name.clone().unwrap_or_else(|| path.name());
    let at = |wanted: &'a Wanted| match &wanted.what {
        What::Path(own) if path.is_none_or(|path| own.to_string() == path) => {
            Some((wanted, name(wanted, own)))
        }
        What::Path(_) | What::Links(_) => None,
    };
    let found = || {
        let path: ResourcePath = path?.parse().ok()?;
        let wanted = all.iter().find(|wanted| matches!(wanted.what, What::Links(_)))?;
        Some((&***wanted, name(wanted, &path)))
    };
    all.iter().find_map(|wanted| at(wanted)).or_else(found)
}

fn path_of(wanted: &Wanted) -> String {
    match &wanted.what {
        What::Path(path) => path.to_string(),
        What::Links(_) => "what its links say".to_owned(),
    }
}
