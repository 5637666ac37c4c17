// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line of `heraldry`.

mod ctl;
mod layouts;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use heraldry_identity::VmName;
use heraldry_program::{self as program, chain};
use smithay::utils::{Physical, Size};
use tracing::{info, warn};

use self::ctl::{CtlArgs, ctl, default_control};
use crate::backend::kms::{KmsOptions, RendererChoice, SessionChoice};
use crate::init::supervise::{SuperviseError, supervise};
use crate::run::{BackendChoice, Options};
use crate::system::sandbox::Places;
use crate::vms::dev_socket::DevSocket;
use crate::vms::transports::HostLink;

/// The user's input is wrong.
const EXIT_INPUT: u8 = 1;
/// The command line is wrong; clap's own code for it.
const EXIT_USAGE: u8 = 2;
/// Our own bug.
const EXIT_BUG: u8 = 70;

/// A Wayland compositor for windows of other VMs, each framed in the arms of the VM it came from.
#[derive(Debug, Parser)]
#[command(name = "heraldry", version, max_term_width = 100)]
pub struct Cli {
    /// How much to log to standard error: error, warn, info, debug, or a tracing filter.
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL")]
    pub log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the compositor.
    Run(RunArgs),
    /// Run the compositor, and start it again when it crashes. A VM that is paused or hidden stays so; one that was being
    /// served at two crashes in a row, or at three of nine, is paused.
    Supervise(RunArgs),
    /// Check a configuration: every error at once, with file, line and column.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Show the merged settings of one VM, each with the line that set it.
    Effective {
        /// The configuration.
        file: PathBuf,
        /// The VM's name.
        vm: String,
    },
    /// Talk to a running compositor.
    Ctl(CtlArgs),
    /// Print shell completions.
    Completions {
        /// The shell.
        shell: program::Shell,
    },
    /// Print the man page.
    Man,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The configuration [default: $XDG_CONFIG_HOME/heraldry/heraldry.kdl, then /etc/heraldry/heraldry.kdl].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to show the picture.
    #[arg(long, value_enum, default_value_t)]
    backend: BackendChoice,
    /// The virtio_wl device that VMs' connections come through.
    #[arg(long, value_name = "PATH")]
    device: Option<PathBuf>,
    /// The folder of a `heraldry-host` on this machine (its `--dir`): VMs' connections come through its sockets, and no
    /// device is needed.
    #[arg(long, value_name = "DIR", conflicts_with = "device")]
    host_dir: Option<PathBuf>,
    /// The socket `compositor/channel` of a `heraldry-host`, where it is the only one that can be had here: VMs' connections
    /// come through one channel.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["device", "host_dir"])]
    host_channel: Option<PathBuf>,
    /// Who opens screens and input devices, for `--backend kms`.
    #[arg(long, value_enum, default_value_t)]
    session: SessionChoice,
    /// What draws, for `--backend kms` and `headless`.
    #[arg(long, value_enum, default_value_t)]
    renderer: RendererChoice,
    /// If the configuration is missing or broken, run with the built-in one, which refuses every VM, and say so on the
    /// screen.
    #[arg(long)]
    fallback_config: bool,
    /// Size of the output in physical pixels; `--backend kms` has the screens' own.
    #[arg(long, value_name = "WxH", default_value = "1280x800", value_parser = parse_size)]
    size: Size<i32, Physical>,
    /// Physical pixels per logical pixel, 0.5 to 4; `--backend kms` has the configuration's, for each screen.
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = parse_scale)]
    scale: f64,
    /// The control socket [default: $XDG_RUNTIME_DIR/heraldry.ctl].
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// For development: listen for clients of VM on a Unix socket. Not isolated. May be given once per VM.
    #[arg(long, value_name = "VM=NAME")]
    dev_socket: Vec<DevSocket>,
    /// Write a newline to this inherited descriptor once the compositor runs, as s6 wants it. systemd is told by itself.
    #[arg(long, value_name = "FD")]
    ready_fd: Option<u32>,
    /// Stop after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    exit_after: Option<u64>,
    /// For `supervise`: the record of who is served and who is not to be.
    #[arg(long, value_name = "FILE", hide = true)]
    served_record: Option<PathBuf>,
    /// Do not serve this VM until `heraldry ctl resume VM`. May be given several times.
    #[arg(long, value_name = "VM")]
    paused: Vec<VmName>,
    /// Let the kernel refuse every system call that the compositor has no use for, and every file but the configuration, its
    /// devices, what libraries read, and what lies beside its sockets.
    #[arg(long)]
    seccomp: bool,
}

fn parse_size(text: &str) -> Result<Size<i32, Physical>, String> {
    let parse = |part: &str| {
        part.parse::<i32>()
            .ok()
            .filter(|value| (64..=16384).contains(value))
    };
    let (w, h) = text
        .split_once('x')
        .ok_or("write it as WIDTHxHEIGHT, for example 1280x800")?;
    match (parse(w), parse(h)) {
        (Some(w), Some(h)) => Ok((w, h).into()),
        _ => Err("width and height are whole numbers from 64 to 16384".to_owned()),
    }
}

fn parse_scale(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|scale| (0.5..=4.0).contains(scale))
        .ok_or_else(|| "the scale is a number from 0.5 to 4".to_owned())
}

/// Runs the command; the result is the program's exit status.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Run(args) => run(args),
        // The options are checked here, and go on as they were given.
        Command::Supervise(_) => {
            let args = given(std::env::args_os(), &cli.log);
            match std::env::current_exe()
                .map_err(SuperviseError::from)
                .and_then(|exe| supervise(&[exe.into()], &args))
            {
                Ok(code) => ExitCode::from(code),
                Err(error) => fail(EXIT_INPUT, &chain(&error)),
            }
        }
        Command::Check { file } => check(&file),
        Command::Effective { file, vm } => effective(&file, &vm),
        Command::Ctl(args) => ctl(args),
        Command::Completions { shell } => program::completions(Cli::command(), shell),
        Command::Man => program::man(Cli::command()),
    }
}

/// The options of `supervise` for `run`: what stands behind the command's name, and the log level, wherever it stood.
fn given(args: impl Iterator<Item = OsString>, log: &str) -> Vec<OsString> {
    let mut all = vec![OsString::from("--log"), OsString::from(log)];
    let mut rest = args.skip_while(|arg| arg != "supervise").skip(1);
    while let Some(arg) = rest.next() {
        if arg == "--log" {
            drop(rest.next());
        } else if !arg.to_string_lossy().starts_with("--log=") {
            all.push(arg);
        }
    }
    all
}

/// Says what is wrong with the command line.
#[must_use]
pub fn fail_usage(message: &str) -> ExitCode {
    fail(EXIT_USAGE, message)
}

fn fail(code: u8, message: &str) -> ExitCode {
    program::fail("heraldry", code, message)
}

fn check(file: &Path) -> ExitCode {
    match heraldry_config::load(file) {
        Ok(config) => {
            let unknown = layouts::unknown(&config);
            if unknown.is_empty() {
                let count = match config.vms.len() {
                    1 => "1 VM".to_owned(),
                    more => format!("{more} VMs"),
                };
                return program::print(format!("{}: ok, {count}\n", file.display()).as_bytes());
            }
            for line in unknown {
                let _closed = writeln!(std::io::stderr(), "{line}");
            }
            ExitCode::from(EXIT_INPUT)
        }
        Err(errors) => {
            let _closed = writeln!(std::io::stderr(), "{errors}");
            ExitCode::from(EXIT_INPUT)
        }
    }
}

fn effective(file: &Path, vm: &str) -> ExitCode {
    let config = match heraldry_config::load(file) {
        Ok(config) => config,
        Err(errors) => {
            let _closed = writeln!(std::io::stderr(), "{errors}");
            return ExitCode::from(EXIT_INPUT);
        }
    };
    let name = match vm.parse::<VmName>() {
        Ok(name) => name,
        Err(error) => return fail(EXIT_INPUT, &format!("{vm:?} is no VM name: {error}")),
    };
    let Some(settings) = heraldry_config::effective(&config, &name) else {
        return fail(
            EXIT_INPUT,
            &format!("{} names no VM {vm}, and unknown VMs are refused", file.display()),
        );
    };
    let mut text = String::new();
    for setting in settings {
        text.push_str(&setting.to_string());
        text.push('\n');
    }
    program::print(text.as_bytes())
}

fn default_config() -> Option<PathBuf> {
    let user = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    user.into_iter()
        .chain([PathBuf::from("/etc")])
        .map(|dir| dir.join("heraldry/heraldry.kdl"))
        .find(|path| path.exists())
}

/// What `run` may do with this command line and no more; `None` for another command.
///
/// For a program that stands in the compositor's place to try what it may.
#[must_use]
pub fn places(cli: &Cli) -> Option<Places> {
    match &cli.command {
        Command::Run(args) => Some(args.places()),
        _ => None,
    }
}

impl RunArgs {
    fn config(&self) -> Option<PathBuf> {
        self.config.clone().or_else(default_config)
    }

    fn control(&self) -> Option<PathBuf> {
        self.control.clone().or_else(default_control)
    }

    fn places(&self) -> Places {
        let sockets = self.dev_socket.iter().filter_map(|socket| socket.path().ok());
        Places {
            config: self.config(),
            sockets: sockets.chain(self.control()).collect(),
            scratch: Some(std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from)),
            device: self.device.clone(),
            nested: matches!(self.backend, BackendChoice::Auto | BackendChoice::Winit),
        }
    }
}

fn run(args: RunArgs) -> ExitCode {
    // Before any thread starts, so that every thread has it.
    if args.seccomp
        && let Err(error) = crate::system::sandbox::enter(&args.places())
    {
        return fail(EXIT_INPUT, &chain(&error));
    }
    let control = args.control();
    let Some(path) = args.config() else {
        return fail(
            EXIT_INPUT,
            "no configuration found; name one with --config, or start from the commented default \
             assets/heraldry.kdl",
        );
    };
    let (config, fallback) = match heraldry_config::load(&path) {
        Ok(config) => {
            info!("configuration {}: {} VMs", path.display(), config.vms.len());
            (config, None)
        }
        Err(errors) => {
            let _closed = writeln!(std::io::stderr(), "{errors}");
            let Some(config) = heraldry_config::builtin::config().filter(|_| args.fallback_config) else {
                return ExitCode::from(EXIT_INPUT);
            };
            warn!("the configuration cannot be used: every VM will be refused until it is mended");
            (config, Some(broken_notice(&path, &errors)))
        }
    };
    let options = Options {
        config,
        config_path: Some(path),
        backend: args.backend,
        fallback,
        ready_fd: args.ready_fd,
        kms: KmsOptions {
            session: args.session,
            renderer: args.renderer,
        },
        size: args.size,
        scale: args.scale,
        host: args
            .device
            .map(HostLink::Device)
            .or(args.host_dir.map(HostLink::Local))
            .or(args.host_channel.map(HostLink::Channel)),
        control,
        dev_sockets: args.dev_socket,
        exit_after: args.exit_after.map(Duration::from_secs),
        served_record: args.served_record,
        paused: args.paused,
    };
    match crate::run::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        // Nothing that the user gave makes the loop fail.
        Err(error @ crate::run::RunError::Loop(_)) => fail(EXIT_BUG, &chain(&error)),
        Err(error) => fail(EXIT_INPUT, &chain(&error)),
    }
}

/// What the screen says while a broken configuration leaves the built-in one in force.
fn broken_notice(path: &Path, errors: &heraldry_config::ConfigErrors) -> String {
    let text = errors.to_string();
    let first = text.lines().next().unwrap_or_default();
    format!("{} is broken, every VM is refused: {first}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supervise_gives_run_what_it_was_given() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let line = "heraldry --log=warn supervise --size 10x10 --log info --paused work --log=debug";
        let expected = words("--log debug --size 10x10 --paused work");
        assert_eq!(given(words(line).into_iter(), "debug"), expected);
    }
}
