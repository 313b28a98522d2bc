//! Which store a command looks into, and who has it.

use std::io;
use std::path::{Path, PathBuf};

use crate::cli::run::block_on;
use crate::cli::{ConfigArgs, complain, complain_of};
use crate::control::{AskError, Request, ask};
use crate::exit::Exit;
use crate::store::{FILE, is_locked};

/// Where a store is.
#[derive(Debug)]
pub(in crate::cli) enum Place {
    /// A gateway uses this state directory, and is asked.
    Gateway { state_dir: PathBuf, holder: String },
    /// No gateway uses this file.
    File(PathBuf),
}

/// Why a store cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error(
        "there is no state directory {0}; name the configuration of the gateway with --config, or \
         the store's file"
    )]
    NoDirectory(PathBuf),
    #[error("cannot look into {0}")]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("{holder} uses {file}; leave FILE out, so that the gateway is asked")]
    InUse { file: PathBuf, holder: String },
    #[error(
        "{holder} uses {state_dir} and does not answer; is it a gateway that has just started, and \
         are you its user? Stop it to look into the file"
    )]
    Silent { holder: String, state_dir: PathBuf, source: AskError },
    #[error("a gateway has started to use {0} meanwhile; run the command again")]
    Started(PathBuf),
}

impl Place {
    /// The named file, or the store of the configuration.
    pub(in crate::cli) fn find(file: Option<&Path>, config: &ConfigArgs) -> Result<Self, Exit> {
        let place = match file {
            Some(file) => Self::of_file(file),
            None => {
                let loaded = config.load_partly().map_err(|report| complain(&report))?;
                Self::of_directory(&loaded.config.gateway.state_dir)
            }
        };
        place.map_err(|error| fail(&error))
    }

    fn of_file(file: &Path) -> Result<Self, PlaceError> {
        match holder(file)? {
            Some(holder) => Err(PlaceError::InUse { file: file.to_owned(), holder }),
            None => Ok(Self::File(file.to_owned())),
        }
    }

    fn of_directory(state_dir: &Path) -> Result<Self, PlaceError> {
        if !state_dir.is_dir() {
            return Err(PlaceError::NoDirectory(state_dir.to_owned()));
        }
        let file = state_dir.join(FILE);
        Ok(match holder(&file)? {
            Some(holder) => Self::Gateway { state_dir: state_dir.to_owned(), holder },
            None => Self::File(file),
        })
    }
}

/// Fails where a gateway has come to use the file since [`Place::find`].
pub(super) fn check_unused(file: &Path) -> Result<(), PlaceError> {
    match holder(file)? {
        Some(_) => Err(PlaceError::Started(file.to_owned())),
        None => Ok(()),
    }
}

/// Who uses a file: only the one with the store's own name is used.
fn holder(file: &Path) -> Result<Option<String>, PlaceError> {
    if file.file_name().is_none_or(|name| name != FILE) {
        return Ok(None);
    }
    // The parent of a bare name is the empty path.
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    is_locked(directory).map_err(|source| PlaceError::Unreadable(directory.to_owned(), source))
}

/// Tells what kept a command from working.
pub(super) fn fail(error: &dyn std::error::Error) -> Exit {
    complain_of(error);
    Exit::Failure
}

/// Asks the gateway that uses a state directory; `take` gets the lines of its answer.
pub(in crate::cli) fn ask_gateway(
    state_dir: &Path,
    holder: &str,
    request: &Request,
    take: impl FnMut(&str) -> bool,
) -> Result<(), Exit> {
    let asked = block_on(ask(state_dir, request, take)).unwrap_or_else(|error| Err(error.into()));
    asked.map_err(|error| match error {
        AskError::Silent(_) => {
            let (holder, state_dir) = (holder.to_owned(), state_dir.to_owned());
            complain_of(&PlaceError::Silent { holder, state_dir, source: error });
            Exit::Unreachable
        }
        AskError::BrokenOff | AskError::Failed(_) => fail(&error),
        AskError::NotTaken => Exit::Ok,
    })
}
