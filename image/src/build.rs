// SPDX-License-Identifier: MIT OR Apache-2.0
//! Collects what the lists name.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ImageError;
use crate::cpio::{Content, Entry, Tree};
use crate::modules::{Kernel, Set};
use crate::recipe::{Item, parse};

/// Where libraries go, whatever the path that a program finds them by: the rest are links.
const LIBRARIES: &str = "/usr/lib";
/// Zeros behind a packed archive, which is also what the next one is aligned to.
const PACK_END: usize = 4;

/// Where things come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Where a list's sources without a variable are.
    pub root: PathBuf,
    /// What `$NAME` stands for.
    pub folders: BTreeMap<String, PathBuf>,
    /// `lib/modules/VERSION` of the kernel.
    pub kernel: Option<PathBuf>,
}

impl Sources {
    fn find(&self, source: &str) -> PathBuf {
        let variable = source.strip_prefix('$').and_then(|rest| {
            let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
            Some(self.folders.get(name)?.join(path))
        });
        // An absolute path stays one.
        variable.unwrap_or_else(|| self.root.join(source))
    }
}

/// Collects the lists at these paths, in any order.
pub fn collect(lists: &[PathBuf], sources: &Sources) -> Result<Tree, ImageError> {
    let mut tree = Tree::default();
    let kernel = sources.kernel.as_deref().map(Kernel::open).transpose()?;
    let mut modules = Set::default();
    let mut needed = Vec::new();
    for list in lists {
        let text = fs::read_to_string(list).map_err(|source| read_error(list, source))?;
        for item in parse(&list.to_string_lossy(), &text)? {
            match item {
                Item::Module(name) => match &kernel {
                    Some(kernel) => kernel.add(&mut modules, &name)?,
                    None => return Err(ImageError::Module(name)),
                },
                item => add(&mut tree, item, sources, &mut needed)?,
            }
        }
    }
    for path in needed {
        libraries(&mut tree, &path)?;
    }
    if let Some(kernel) = kernel
        && !modules.modules.is_empty()
    {
        let folder = format!("/usr/lib/modules/{}", kernel.version());
        let mut file = |name: &str, data: Vec<u8>| {
            tree.insert(
                &format!("{folder}/{name}"),
                Entry::new(Content::File(data), 0o644),
            )
        };
        file("modules.dep", modules.dep().into_bytes())?;
        file("modules.alias", modules.alias().into_bytes())?;
        file("modules.builtin", kernel.builtin().into_bytes())?;
        for module in modules.modules.into_values() {
            file(&module.file, module.data)?;
        }
    }
    Ok(tree)
}

fn read_error(path: &Path, source: std::io::Error) -> ImageError {
    ImageError::Read {
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    fs::read(path).map_err(|source| read_error(path, source))
}

fn add(tree: &mut Tree, item: Item, sources: &Sources, needed: &mut Vec<PathBuf>) -> Result<(), ImageError> {
    match item {
        Item::Folder(at, mode) => tree.insert(&at, Entry::new(Content::Folder, mode)),
        Item::Device(at, major, minor, mode) => {
            tree.insert(&at, Entry::new(Content::Device(major, minor), mode))
        }
        Item::Link(at, target) => tree.insert(&at, Entry::new(Content::Link(target), 0o777)),
        Item::File(at, source, mode) => {
            let data = read(&sources.find(&source))?;
            tree.insert(&at, Entry::new(Content::File(data), mode))
        }
        Item::Program(at, source) => {
            let path = sources.find(&source);
            let data = stripped(&path)?;
            needed.push(path);
            tree.insert(&at, Entry::new(Content::File(data), 0o755))
        }
        Item::Library(source) => {
            let path = sources.find(&source);
            library(tree, &path)?;
            needed.push(path);
            Ok(())
        }
        Item::Tree(at, source) => copy(tree, &at, &sources.find(&source)),
        // Modules have an index of their own.
        Item::Module(_) => Ok(()),
    }
}

/// A folder and all that is in it, links as links.
fn copy(tree: &mut Tree, at: &str, source: &Path) -> Result<(), ImageError> {
    let kind = fs::symlink_metadata(source).map_err(|error| read_error(source, error))?;
    if kind.is_symlink() {
        let target = fs::read_link(source).map_err(|error| read_error(source, error))?;
        let target = target.to_string_lossy().into_owned();
        return tree.insert(at, Entry::new(Content::Link(target), 0o777));
    }
    if !kind.is_dir() {
        // Of the permissions only what a checkout keeps too.
        let mode = if kind.permissions().mode() & 0o100 == 0 {
            0o644
        } else {
            0o755
        };
        return tree.insert(at, Entry::new(Content::File(read(source)?), mode));
    }
    tree.insert(at, Entry::new(Content::Folder, 0o755))?;
    let entries = fs::read_dir(source).map_err(|error| read_error(source, error))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        copy(tree, &format!("{at}/{name}"), &entry.path())?;
    }
    Ok(())
}

/// What a program of this system prints.
pub(crate) fn tool(tool: &'static str, command: &mut Command) -> Result<Vec<u8>, ImageError> {
    let output = command
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| ImageError::Tool {
            tool,
            why: error.to_string(),
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ImageError::Tool { tool, why })
}

/// A program without what only debuggers read. One that is no ELF file (a script) stays as it is.
fn stripped(path: &Path) -> Result<Vec<u8>, ImageError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let data = read(path)?;
    if !data.starts_with(b"\x7fELF") {
        return Ok(data);
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let out = std::env::temp_dir().join(format!("heraldry-strip-{}-{number}", std::process::id()));
    let result = tool(
        "strip",
        Command::new("strip")
            .arg("--strip-all")
            .arg("-o")
            .arg(&out)
            .arg(path),
    )
    .and_then(|_| read(&out));
    let _absent = fs::remove_file(&out);
    result
}

/// What the loader would load for a program or a library.
fn libraries(tree: &mut Tree, program: &Path) -> Result<(), ImageError> {
    // Static programs have none, which ldd calls an error.
    let Ok(output) = tool("ldd", Command::new("ldd").arg(program)) else {
        return Ok(());
    };
    for line in String::from_utf8_lossy(&output).lines() {
        let mut words = line.split_whitespace();
        let (name, rest) = (words.next().unwrap_or_default(), words.next());
        let path = match (rest, words.next()) {
            (Some("=>"), Some("not")) => {
                return Err(ImageError::Library {
                    program: program.to_owned(),
                    library: name.to_owned(),
                });
            }
            (Some("=>"), Some(path)) => path,
            // The loader itself; or what the kernel provides, which is no file.
            _ if name.starts_with('/') => name,
            _ => continue,
        };
        library(tree, Path::new(path))?;
    }
    Ok(())
}

/// Puts a library where the loader finds it: by its name, in the folder that it is in. With `/lib` and `/lib64` as links
/// into `/usr`, paths through them lead to the same place.
fn library(tree: &mut Tree, path: &Path) -> Result<(), ImageError> {
    let text = path.to_string_lossy();
    let below = text.strip_prefix("/usr").unwrap_or(&text);
    let at = if below.starts_with("/lib") {
        format!("/usr{below}")
    } else {
        let name = path
            .file_name()
            .unwrap_or(OsStr::new("library"))
            .to_string_lossy();
        format!("{LIBRARIES}/{name}")
    };
    tree.insert(&at, Entry::new(Content::File(read(path)?), 0o755))
}

/// Packs an archive as the kernel can unpack it. One thread and a fixed level: the same bytes each time.
///
/// LZ4 in the kernel's old form, which has no end: zeros say that nothing follows but perhaps another archive.
pub fn pack(archive: &[u8], level: u8) -> Result<Vec<u8>, ImageError> {
    let failed = |error: std::io::Error| ImageError::Tool {
        tool: "lz4",
        why: error.to_string(),
    };
    let mut child = Command::new("lz4")
        .args(["-q", "-c", "-l", &format!("-{level}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let input = child.stdin.take();
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(move || match input {
            Some(mut input) => input.write_all(archive),
            None => Ok(()),
        });
        let output = child.wait_with_output();
        let written = writer
            .join()
            .unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
        written.and(output)
    });
    let output = written.map_err(failed)?;
    if !output.status.success() {
        return Err(ImageError::Tool {
            tool: "lz4",
            why: output.status.to_string(),
        });
    }
    let mut packed = output.stdout;
    packed.resize(packed.len().next_multiple_of(PACK_END) + PACK_END, 0);
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_comes_with_its_libraries_and_the_bytes_are_the_same_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("x.list");
        fs::write(dir.path().join("note"), "text").unwrap();
        fs::write(
            &list,
            "program /usr/bin/ls $BIN/ls\nfile /etc/note note\ntree /here .\nlink /lib usr/lib\n",
        )
        .unwrap();
        let sources = Sources {
            root: dir.path().to_owned(),
            folders: [("BIN".to_owned(), PathBuf::from("/bin"))].into(),
            kernel: None,
        };
        let tree = collect(std::slice::from_ref(&list), &sources).unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.to_owned()).collect();
        assert!(paths.iter().any(|path| path.ends_with("/libc.so.6")), "{paths:?}");
        assert!(paths.iter().any(|path| path.contains("/ld-linux")), "{paths:?}");
        assert!(paths.iter().all(|path| !path.starts_with("lib/")), "{paths:?}");
        assert!(paths.contains(&"here/note".to_owned()));
        let again = collect(&[list], &sources).unwrap();
        let (one, two) = (tree.archive().unwrap(), again.archive().unwrap());
        assert!(one == two, "the archive");
        assert!(
            pack(&one, 3).unwrap() == pack(&two, 3).unwrap(),
            "the packed archive"
        );
    }

    #[test]
    fn what_is_missing_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("x.list");
        fs::write(&list, "file /a no-such-file\n").unwrap();
        let sources = Sources {
            root: dir.path().to_owned(),
            ..Sources::default()
        };
        let error = collect(std::slice::from_ref(&list), &sources).unwrap_err();
        assert!(error.to_string().ends_with("no-such-file"), "{error}");
        fs::write(&list, "module evdev\n").unwrap();
        assert!(matches!(collect(&[list], &sources), Err(ImageError::Module(_))));
    }
}
