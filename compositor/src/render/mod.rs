// SPDX-License-Identifier: MIT OR Apache-2.0
//! From windows to pixels. [`scene`] builds the one list of elements that every backend draws; [`frames`] knows
//! what is on each frame and [`bitmap_cache`] has what they share, [`content`] is what is inside of them; [`piece`] is where a client's numbers are checked; [`geometry`]
//! says where things are, for drawing and for clicks alike.

mod band;
mod bitmap_cache;
mod compose_budget;
mod content;
mod damage;
pub mod elements;
mod fingerprint;
pub mod framed;
pub mod frames;
pub mod geometry;
mod pages;
pub mod painter;
pub mod per_scale;
mod picture;
pub mod piece;
mod pointer;
pub mod scene;
mod sys;
mod textures;
pub(crate) mod uploads;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use heraldry_config::Appearance;
use heraldry_decorations::Style;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::Color32F;
use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::utils::{Physical, Rectangle, Size, Transform};
use wayland_server::backend::ObjectId;

use self::bitmap_cache::BitmapCaches;
use self::compose_budget::Balances;
use self::fingerprint::Fingerprints;
use self::frames::FrameCache;
use self::per_scale::PerScale;
use self::piece::Ground;
use self::pointer::Pointers;
use self::textures::Textures;
use crate::desktop::layout::WindowId;
use crate::desktop::outputs::{Screen, ScreenId};

/// A notice and its bitmaps.
#[derive(Debug)]
struct Notice {
    text: String,
    drawn: PerScale<(MemoryRenderBuffer, Size<i32, Physical>)>,
}

/// What is remembered of what is framed, from frame to frame.
#[derive(Debug, Default)]
struct Caches {
    /// Of windows, also of those that are not seen.
    windows: HashMap<WindowId, PerScale<FrameCache>>,
    /// Of popups and drag icons that are shown, by their surface.
    others: HashMap<ObjectId, PerScale<FrameCache>>,
}

/// What drawing needs to remember.
#[derive(Debug)]
pub struct Render {
    /// Sizes of frames at scale 1.
    style: Style,
    /// Colour where nothing else is.
    pub background: Color32F,
    /// What frames of a VM share.
    bitmaps: BitmapCaches,
    /// What is remembered of everything framed.
    caches: Caches,
    /// Notices of the compositor's own, and the bar above all windows that shows them.
    notices: Vec<String>,
    notice: Option<Notice>,
    /// How large the bar is that each screen shows, or nothing, since it was drawn last.
    shown_notice: BTreeMap<ScreenId, Size<i32, Physical>>,
    /// Pictures of the pointer.
    pointer: Pointers,
    /// Memory that the renderer has for clients' buffers.
    textures: Textures,
    /// VMs that composed something in the last frames.
    composing: u64,
    balances: Balances,
    fingerprints: Fingerprints,
    /// The number of the frame, of whichever screen.
    number: u64,
    /// The renderer copies clients' buffers into memory of its own, and doesn't read them where they are.
    pub(crate) copies: bool,
    /// What lies under clients' content.
    ground: Ground,
    /// What composing may take in a frame, if a test says so.
    tests_time: Option<Duration>,
    dirty: bool,
    /// Something may be on another screen, or cover more, than when the last scene was built.
    moved: bool,
}

impl Render {
    /// Nothing drawn yet, everything to draw.
    #[must_use]
    pub fn new(appearance: &Appearance) -> Self {
        let mut render = Self {
            style: Style {
                frame_width: 4,
                title_height: 26,
                font_size: 13.0,
                scale: 1.0,
            },
            background: Color32F::BLACK,
            bitmaps: BitmapCaches::default(),
            caches: Caches::default(),
            notices: Vec::new(),
            notice: None,
            shown_notice: BTreeMap::new(),
            pointer: Pointers::default(),
            textures: Textures::default(),
            composing: 0,
            balances: Balances::default(),
            fingerprints: Fingerprints::default(),
            copies: false,
            number: 0,
            ground: Ground::Plate,
            tests_time: None,
            dirty: true,
            moved: true,
        };
        render.apply(appearance);
        render
    }

    /// Draws clients' content without its plate, as if what it says of itself were true. Only for the test that shows that
    /// such a screen is found out.
    pub fn believe_clients(&mut self) {
        self.ground = Ground::Nothing;
    }

    /// Composing may take so long in a frame, or as long as it usually may. Only for tests, whose clock stands still: there
    /// it usually takes no time.
    pub fn limit_composing(&mut self, time: Option<Duration>) {
        self.tests_time = time;
        self.dirty = true;
    }

    /// What composing may take in a frame. Where time stands still it takes none.
    fn composing_time(&self, time_runs: bool) -> Duration {
        let usual = if time_runs {
            compose_budget::TIME
        } else {
            Duration::MAX
        };
        self.tests_time.unwrap_or(usual)
    }

    /// Takes over changed settings.
    pub fn apply(&mut self, appearance: &Appearance) {
        let font_size = appearance.font_size;
        #[expect(clippy::cast_precision_loss, reason = "font sizes are small numbers")]
        let font_size = font_size as f32;
        if let Some(notice) = &mut self.notice {
            notice.drawn.clear();
        }
        self.style = Style {
            frame_width: appearance.frame_width,
            title_height: appearance.title_height,
            font_size,
            scale: 1.0,
        };
        let rgb = appearance.background;
        let part = |value: u8| f32::from(value) / 255.0;
        self.background = Color32F::new(part(rgb.r), part(rgb.g), part(rgb.b), 1.0);
        self.dirty = true;
    }

    /// Sizes of frames on a screen of this scale.
    #[must_use]
    pub fn style(&self, scale: f64) -> Style {
        Style { scale, ..self.style }
    }

    /// Shows a notice above all windows, until it is hidden.
    pub fn show_notice(&mut self, text: &str) {
        self.notices.push(text.to_owned());
        self.redraw_notice();
    }

    /// Hides a notice.
    pub fn hide_notice(&mut self, text: &str) {
        if let Some(index) = self.notices.iter().position(|shown| shown == text) {
            self.notices.remove(index);
        }
        self.redraw_notice();
    }

    fn redraw_notice(&mut self) {
        self.notice = (!self.notices.is_empty()).then(|| Notice {
            text: self.notices.join("   |   "),
            drawn: PerScale::default(),
        });
        self.dirty = true;
    }

    /// Where a screen shows the notice: at the bottom, in the middle. A text that came or went is not drawn yet, and what is
    /// seen takes the click.
    #[must_use]
    pub fn notice_place(&self, screen: &Screen) -> Option<Rectangle<i32, Physical>> {
        let size = self.shown_notice.get(&screen.id())?;
        let all = screen.size();
        Some(Rectangle::new(
            ((all.w - size.w) / 2, all.h - size.h).into(),
            *size,
        ))
    }

    /// The notice's bitmap, which a screen shows from now on.
    fn notice(&mut self, screen: ScreenId, scale: f64) -> Option<MemoryRenderBuffer> {
        let Some((buffer, size)) = self.drawn_notice(scale).cloned() else {
            self.shown_notice.remove(&screen);
            return None;
        };
        self.shown_notice.insert(screen, size);
        Some(buffer)
    }

    /// The notice's bitmap, drawn when first needed.
    fn drawn_notice(&mut self, scale: f64) -> Option<&(MemoryRenderBuffer, Size<i32, Physical>)> {
        let style = self.style(scale);
        let Notice { text, drawn } = self.notice.as_mut()?;
        let drawn = drawn.get_or_insert_with(scale, || {
            let picture = heraldry_decorations::notice(text, &style);
            let signed = |value: u32| i32::try_from(value).unwrap_or(0);
            let size = Size::from((signed(picture.size.0), signed(picture.size.1)));
            let buffer = MemoryRenderBuffer::from_slice(
                &picture.pixels,
                Fourcc::Argb8888,
                (size.w, size.h),
                1,
                Transform::Normal,
                None,
            );
            (buffer, size)
        });
        Some(drawn)
    }

    /// Asks for a frame: something may look different, or a client waits for its callback.
    pub fn schedule(&mut self) {
        self.dirty = true;
        self.moved = true;
    }

    /// Whether a frame was asked for since the last call.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// Whether a frame is asked for.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }
}
