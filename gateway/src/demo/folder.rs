//! A folder that only this user can look into, and that is removed at the end.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The folder; dropping it removes everything in it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes it where temporary files are kept, with a name that begins so.
    ///
    /// # Errors
    /// Where it cannot be made, and why.
    pub(crate) fn make(name: &str) -> Result<Self, (PathBuf, io::Error)> {
        let parent = std::env::temp_dir();
        let made = || {
            let name = format!("{name}-{:016x}", getrandom::u64().map_err(io::Error::other)?);
            let path = std::path::absolute(&parent)?.join(name);
            // Not recursive: what is there already is somebody else's, and an error.
            DirBuilder::new().mode(0o700).create(&path)?;
            Ok(Self(path))
        };
        made().map_err(|error: io::Error| (parent.clone(), error))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans up temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn folder_is_private_and_gone_at_the_end() {
        let folder = Folder::make("gateway-test").unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
