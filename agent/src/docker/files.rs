//! Small files that documents bring along: written once under the state directory, so that
//! they are there when the engine restarts containers after a reboot, and rewritten only when
//! they changed.

use super::DockerError;
use crate::ledger::write_with_mode;
use kc_agent_api::ContainerSpec;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Writes the files of `spec`; returns host path and container path of each.
pub fn write_files(
    root: &Path,
    spec: &ContainerSpec,
) -> Result<Vec<(PathBuf, String)>, DockerError> {
    let dir = root.join(&spec.name);
    let refuse = |path: &Path, source| DockerError::File {
        path: path.to_owned(),
        source,
    };
    if spec.files.is_empty() {
        forget_files(root, &spec.name);
        return Ok(Vec::new());
    }
    // Contents may be secrets: only root looks in.
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(&dir);
    made.map_err(|source| refuse(&dir, source))?;
    let mut mounts = Vec::new();
    for (index, file) in spec.files.iter().enumerate() {
        let path = dir.join(index.to_string());
        let same = fs::read(&path).is_ok_and(|old| old == file.content.as_bytes());
        if !same {
            // Whoever the container's process is: that it was let in is enough.
            write_with_mode(&path, file.content.as_bytes(), 0o444)
                .map_err(|error| refuse(&path, io::Error::other(error)))?;
        }
        mounts.push((path, file.path.clone()));
    }
    Ok(mounts)
}

/// Removes the files of an entry that has left the document.
pub fn forget_files(root: &Path, name: &str) {
    let dir = root.join(name);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "cannot remove files");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::File;
    use std::os::unix::fs::MetadataExt;

    fn spec(content: &str) -> ContainerSpec {
        let spec = serde_json::json!({
            "name": "fw", "role": {"function": {"function": "fw"}}, "image": "a",
            "files": [{"path": "/etc/rules", "content": content}],
        });
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn a_file_is_written_only_when_it_changed() {
        let root = tempfile::tempdir().unwrap();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        let mounts = write_files(root.path(), &spec("a")).unwrap();
        let (path, inside) = &mounts[0];
        assert_eq!(
            (fs::read_to_string(path).unwrap(), inside.as_str()),
            ("a".into(), "/etc/rules")
        );
        let before = inode(path);
        write_files(root.path(), &spec("a")).unwrap();
        assert_eq!(inode(path), before);
        write_files(root.path(), &spec("b")).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "b");
        let none = ContainerSpec {
            files: vec![File {
                path: "/x".into(),
                content: "c".into(),
            }],
            ..spec("")
        };
        assert_eq!(write_files(root.path(), &none).unwrap().len(), 1);
        forget_files(root.path(), "fw");
        assert!(!root.path().join("fw").exists());
    }
}
