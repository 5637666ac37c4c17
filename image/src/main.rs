// SPDX-License-Identifier: MIT OR Apache-2.0
//! `heraldry-image`: what `make image` runs.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use heraldry_image::ImageError;
use heraldry_image::build::{Sources, collect, pack};

/// Builds an initramfs from lists.
#[derive(Debug, Parser)]
#[command(name = "heraldry-image", version, about)]
struct Args {
    /// What goes in, see assets/image.
    #[arg(required = true, value_name = "LIST")]
    lists: Vec<PathBuf>,
    /// Where sources without a variable are.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    root: PathBuf,
    /// What `$NAME` in a list stands for. May be given several times.
    #[arg(long, value_name = "NAME=FOLDER", value_parser = parse_folder)]
    folder: Vec<(String, PathBuf)>,
    /// The kernel's lib/modules/VERSION.
    #[arg(long, value_name = "FOLDER")]
    modules: Option<PathBuf>,
    /// How hard to pack, 1 to 12.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u8).range(1..=12))]
    level: u8,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

fn parse_folder(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write it as NAME=FOLDER")?;
    let path = std::path::absolute(Path::new(path)).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), path))
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(text) => {
            let _closed = writeln!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            let _closed = writeln!(std::io::stderr(), "heraldry-image: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<String, ImageError> {
    let sources = Sources {
        root: args.root,
        folders: args.folder.into_iter().collect(),
        kernel: args.modules,
    };
    let tree = collect(&args.lists, &sources)?;
    let archive = tree.archive()?;
    let packed = pack(&archive, args.level)?;
    let path = args.output;
    std::fs::write(&path, &packed).map_err(|source| ImageError::Write {
        path: path.clone(),
        source,
    })?;
    Ok(format!(
        "{}: {} paths, {} KiB, unpacked {} KiB",
        path.display(),
        tree.iter().count(),
        packed.len() / 1024,
        archive.len() / 1024
    ))
}
