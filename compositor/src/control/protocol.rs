// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes over the control socket.

use serde::{Deserialize, Serialize};

/// A question or a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Every window, from top to bottom.
    Windows,
    /// Every VM that has connected.
    Vms,
    /// Counters.
    Stats,
    /// Every screen.
    Screens,
    /// A screen as a PNG file, written by the compositor.
    Screenshot {
        /// Absolute path.
        path: std::path::PathBuf,
        /// Which screen; `None` for the first.
        #[serde(default)]
        screen: Option<String>,
        /// What the frames so far have left on the first screen, instead of a fresh drawing; headless only.
        #[serde(default)]
        shown: bool,
    },
    /// Gives a window the keyboard and puts it on top.
    Focus {
        /// Its number.
        id: u64,
    },
    /// Asks a window's client to close it.
    Close {
        /// Its number.
        id: u64,
    },
    /// Disconnects every client of a VM.
    Kill {
        /// Its name.
        vm: String,
    },
    /// Stops serving a VM. Its windows stay and say so.
    Pause {
        /// Its name.
        vm: String,
    },
    /// Serves a VM again.
    Resume {
        /// Its name.
        vm: String,
    },
    /// Reads the configuration again.
    Reload,
    /// Ends the compositor.
    Quit,
    /// Input, on the headless backend only.
    Input(InputRequest),
}

/// Input events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "kebab-case", deny_unknown_fields)]
pub enum InputRequest {
    /// A key by its xkb name.
    Key {
        /// For example `a`, `Return`, `Super_L`.
        name: String,
        /// Press, release or both.
        action: KeyAction,
    },
    /// Text, typed key by key.
    Type {
        /// Characters of the keyboard's layout.
        text: String,
    },
    /// Moves the pointer.
    Motion {
        /// Logical pixels from the left.
        x: f64,
        /// Logical pixels from the top.
        y: f64,
    },
    /// A pointer button.
    Button {
        /// `left`, `right` or `middle`.
        name: String,
        /// Press, release or both.
        action: KeyAction,
    },
    /// A vertical scroll, in wheel clicks (positive: down).
    Axis {
        /// Clicks.
        clicks: f64,
    },
    /// A finger. Seats can be touched from the first one on.
    Touch {
        /// What it does.
        action: TouchAction,
        /// Which finger.
        #[serde(default)]
        finger: u32,
        /// Logical pixels from the left, where it comes down or moves.
        #[serde(default)]
        x: f64,
        /// Logical pixels from the top.
        #[serde(default)]
        y: f64,
    },
    /// A pen. Seats have a tablet from the first one on.
    Pen {
        /// What it does.
        action: PenAction,
        /// Logical pixels from the left.
        x: f64,
        /// Logical pixels from the top.
        y: f64,
        /// 0 to 1, if it has changed.
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
