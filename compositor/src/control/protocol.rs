// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes over the control socket.

use serde::{Deserialize, Serialize};

/// A question or a command; `heraldry ctl` has the same words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, clap::Subcommand)]
#[serde(tag = "cmd", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// List windows, from top to bottom.
    Windows,
    /// List VMs that have connected or are paused.
    Vms,
    /// Show counters.
    Stats,
    /// List screens.
    Screens,
    /// Save a screen as a PNG.
    Screenshot {
        // Over the socket the path is absolute: the compositor has a folder of its own.
        /// The file to write.
        #[arg(value_name = "FILE")]
        path: std::path::PathBuf,
        /// Which screen, see `screens` [default: the first].
        #[arg(long, value_name = "NAME")]
        #[serde(default)]
        screen: Option<String>,
        /// What is on the first screen, as frame after frame has left it, instead of a fresh drawing (headless only).
        #[arg(long, conflicts_with = "screen")]
        #[serde(default)]
        shown: bool,
    },
    /// Give a window the keyboard and put it on top.
    Focus {
        /// Its number, see `windows`.
        id: u64,
    },
    /// Ask a window's client to close it.
    Close {
        /// Its number, see `windows`.
        id: u64,
    },
    /// Disconnect every client of a VM.
    Kill {
        /// Its name.
        vm: String,
    },
    /// Stop serving a VM: its windows stay and say so.
    Pause {
        /// Its name.
        vm: String,
    },
    /// Serve a VM again.
    Resume {
        /// Its name.
        vm: String,
    },
    /// Read the configuration again.
    Reload,
    /// End the compositor.
    Quit,
    /// Give input (headless backend only).
    #[command(subcommand)]
    Input(InputRequest),
}

/// Input events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, clap::Subcommand)]
#[serde(tag = "input", rename_all = "kebab-case", deny_unknown_fields)]
pub enum InputRequest {
    /// A key by its xkb name: a, Return, Super_L.
    Key {
        /// The key.
        name: String,
        /// What to do with it.
        #[arg(value_enum, default_value = "tap")]
        action: KeyAction,
    },
    /// Type text, key by key.
    Type {
        /// Characters of the keyboard's layout.
        text: String,
    },
    /// Move the pointer, logical pixels.
    Motion {
        /// From the left.
        x: f64,
        /// From the top.
        y: f64,
    },
    /// A pointer button: left, right, middle.
    Button {
        /// The button.
        name: String,
        /// What to do with it.
        #[arg(value_enum, default_value = "tap")]
        action: KeyAction,
    },
    /// Scroll, in wheel clicks; positive is down.
    Axis {
        /// Clicks.
        #[arg(allow_negative_numbers = true)]
        clicks: f64,
    },
    /// A finger: down, motion, up, cancel. Seats can be touched from the first one on.
    Touch {
        /// What it does.
        #[arg(value_enum)]
        action: TouchAction,
        /// Which finger.
        #[arg(long, default_value_t = 0)]
        #[serde(default)]
        finger: u32,
        /// From the left, logical pixels, where it comes down or moves.
        #[arg(default_value_t = 0.0)]
        #[serde(default)]
        x: f64,
        /// From the top.
        #[arg(default_value_t = 0.0)]
        #[serde(default)]
        y: f64,
    },
    /// A pen: hover, down, up, button-press, button-release, away. Seats have a tablet from the first one on.
    Pen {
        /// What it does.
        #[arg(value_enum)]
        action: PenAction,
        /// From the left, logical pixels.
        x: f64,
        /// From the top.
        y: f64,
        /// How hard it presses, 0 to 1, if that has changed.
        #[arg(long)]
        #[serde(default)]
        pressure: Option<f64>,
    },
}

/// What a finger does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TouchAction {
    /// It comes down.
    Down,
    /// It moves.
    Motion,
    /// It is lifted.
    Up,
    /// All fingers were a mistake.
    Cancel,
}

/// What a pen does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PenAction {
    /// It comes near or moves.
    Hover,
    /// Its tip is put down.
    Down,
    /// Its tip is lifted.
    Up,
    /// Its button is pressed.
    ButtonPress,
    /// Its button is released.
    ButtonRelease,
    /// It is taken away.
    Away,
}

/// What to do with a key or button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAction {
    /// Press and release.
    Tap,
    /// Press only.
    Press,
    /// Release only.
    Release,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Done.
    Ok,
    /// Not done; why.
    Error(String),
    /// Answer to [`Request::Windows`].
    Windows(Vec<WindowInfo>),
    /// Answer to [`Request::Vms`].
    Vms(Vec<VmInfo>),
    /// Answer to [`Request::Screens`].
    Screens(Vec<ScreenInfo>),
    /// Answer to [`Request::Stats`].
    Stats(Stats),
}

/// One screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScreenInfo {
    /// What clients call it.
    pub name: String,
    /// What the kernel calls its connector, and an `output` of the configuration; nothing if none is plugged in.
    pub connector: Option<String>,
    /// Physical pixels of its mode.
    pub size: (i32, i32),
    /// Frames a second.
    pub refresh: f64,
    /// Physical pixels per logical one.
    pub scale: f64,
    /// How the picture is turned.
    pub transform: String,
    /// Where it is.
    pub rect: Rect,
}

/// A rectangle in logical pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rect {
    /// Left edge.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Width.
    pub w: i32,
    /// Height.
    pub h: i32,
}

/// A window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowInfo {
    /// Its number.
    pub id: u64,
    /// Whose it is.
    pub vm: String,
    /// What its client calls it, its first 256 characters; untrusted.
    pub untrusted_title: String,
    /// Content rectangle; absent while it has no content.
    pub content: Option<Rect>,
    /// Frame and content.
    pub outer: Option<Rect>,
    /// `floating`, `maximized` or `fullscreen`.
    pub mode: String,
    /// Whether it has the keyboard.
    pub focused: bool,
    /// Whether it is not shown: minimised by the user or its client, or of a VM that is hidden.
    pub minimized: bool,
    /// Popups that are open.
    pub popups: usize,
    /// Content rectangles of these, the topmost first.
    #[serde(default)]
    pub popup_contents: Vec<Rect>,
    /// Whether its client has not answered for some seconds.
    #[serde(default)]
    pub not_responding: bool,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmInfo {
    /// Its name.
    pub name: String,
    /// The name on its frames.
    pub display_name: String,
    /// Its colour, `#rrggbb`.
    pub color: String,
    /// Connections now.
    pub clients: usize,
    /// Connections ever.
    pub connections: u64,
    /// Windows now.
    pub windows: usize,
    /// Why it is not served; absent if it is.
    pub paused: Option<String>,
    /// Whether its windows are not shown until it is served again.
    #[serde(default)]
    pub hidden: bool,
    /// Whether it wants so much more than its share that its windows say so.
    pub throttled: bool,
}

/// One limit of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetInfo {
    /// What is counted, see `docs/limits.md`.
    pub name: String,
    /// In use now.
    pub used: u64,
    /// The most that was ever in use.
    pub peak: u64,
    /// The most that may be.
    pub limit: u64,
    /// How often more was wanted.
    pub refused: u64,
}

/// Counters of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmStats {
    /// Its name.
    pub name: String,
    /// What its clients use, with the limit of each.
    pub budgets: Vec<BudgetInfo>,
    /// Clients that were ended because they broke a rule.
    pub violations: u64,
    /// Turns of the main loop in which it wanted more than its share.
    pub exhausted_turns: u64,
    /// Frames that it had to wait for because it had committed too much.
    pub held_frames: u64,
    /// Frames in which a part of its windows had to wait for the next one, because drawing them costs so much.
    #[serde(default)]
    pub partial_frames: u64,
    /// Milliseconds of the main thread that drawing its windows has taken.
    #[serde(default)]
    pub drawing_ms: u64,
    /// How often it has shown new content.
    #[serde(default)]
    pub contents: u64,
    /// Bytes of that which were copied into the renderer's memory; none where it reads them where they are.
    #[serde(default)]
    pub copied_bytes: u64,
    /// Windows that appeared later than their client wanted.
    pub delayed_maps: u64,
    /// Popups that were closed because they covered too much.
    pub dismissed_popups: u64,
    /// Connections that were refused.
    pub refused_connections: u64,
    /// Clients that Smithay ended, which the gate should have: a bug of ours if it is not 0.
    pub ended_by_smithay: u64,
}

/// Counters of the process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Version of the program.
    pub version: String,
    /// The backend in use.
    pub backend: String,
    /// Frames that were due.
    pub frames: u64,
    /// Clients of all VMs.
    pub clients: usize,
    /// Windows of all VMs.
    pub windows: usize,
    /// Scale of the output.
    pub scale: f64,
    /// Size of the output in physical pixels.
    pub size: (i32, i32),
    /// Processor time of the longest turn of the main loop since this was last asked, a frame included, in microseconds.
    #[serde(default)]
    pub longest_turn_us: u64,
    /// Every VM that has connected.
    pub vms: Vec<VmStats>,
}
