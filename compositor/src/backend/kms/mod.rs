// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real screens and real input devices: the compositor's VM.
//!
//! [`card`] knows the graphics device and its screens, [`paint`] the two ways to draw, [`modes`] which mode on which pipe;
//! [`input`] translates libinput's events, [`session`] opens devices, [`sleep`] notices that the machine slept. What waits for a device that
//! is gone keeps waiting: the compositor goes on without screens, without input, or without both.

mod card;
mod input;
mod modes;
mod paint;
mod session;
mod sleep;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::input::Libinput;
use calloop::{LoopHandle, RegistrationToken};
use smithay::backend::drm::{DrmDeviceNotifier, DrmEvent, DrmEventMetadata, DrmEventTime};
use smithay::backend::libinput::{LibinputInputBackend, LibinputSessionInterface};
use smithay::backend::session::libseat::LibSeatSessionNotifier;
use smithay::backend::session::{Event as SessionEvent, Session as _};
use smithay::backend::udev::{UdevBackend, UdevEvent, primary_gpu};
use smithay::reexports::drm::control::crtc;
use smithay::utils::{Monotonic, Time};
use smithay::wayland::presentation::Refresh;
use tracing::{debug, info, warn};
use wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;

pub use self::paint::RendererChoice;
pub use self::session::{SessionChoice, SessionError};

use self::card::Card;
use self::session::Seat;
use super::{Backend, Picture, RenderError};
use crate::desktop::outputs::ScreenId;
use crate::state::{Core, State};

/// Why there are no screens.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// No session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// udev's library failed.
    #[error("devices cannot be listed")]
    Udev(#[source] std::io::Error),
    /// There is no graphics device.
    #[error(
        "no graphics device: /dev/dri has no card that can show a picture. In a VM, give it one (QEMU: -device \
         virtio-gpu-pci) and load its driver (module virtio_gpu)"
    )]
    NoCard,
    /// The device cannot be used.
    #[error("{}: {why}", path.display())]
    Card {
        /// Its node.
        path: PathBuf,
        /// What the kernel or a library said.
        why: String,
    },
    /// Its connectors cannot be listed.
    #[error("connectors cannot be listed")]
    Connectors(#[source] std::io::Error),
    /// libinput does not take the seat.
    #[error("libinput does not take the seat {0:?}")]
    Input(String),
    /// Something cannot be watched.
    #[error("cannot watch {0}: {1}")]
    Watch(&'static str, String),
}

/// What the command line says about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct KmsOptions {
    /// How devices are opened.
    pub session: SessionChoice,
    /// What draws.
    pub renderer: RendererChoice,
}

/// The devices.
pub struct Kms {
    seat: Seat,
    renderer: RendererChoice,
    card: Option<(u64, Card, RegistrationToken)>,
    libinput: Libinput,
    devices: Vec<::input::Device>,
    active: bool,
    /// Whether a frame was seen.
    seen: bool,
}

impl std::fmt::Debug for Kms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kms")
            .field("seat", &self.seat)
            .field("active", &self.active)
            .field("inputs", &self.devices.len())
            .finish_non_exhaustive()
    }
}

impl Kms {
    /// Reads a whole screen back.
    pub(super) fn screenshot(&mut self, core: &mut Core, screen: ScreenId) -> Result<Picture, RenderError> {
        match &mut self.card {
            Some((_, card, _)) => card.painter.screenshot(core, screen),
            None => Err(RenderError::NoBackend),
        }
    }

    /// What draws.
    #[must_use]
    pub fn renderer(&self) -> &'static str {
        self.card
            .as_ref()
            .map_or("none", |(_, card, _)| card.painter.name())
    }
}

fn watch<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> KmsError {
    move |error| KmsError::Watch(what, error.to_string())
}

/// Opens session, graphics device and screens.
pub fn open(
    handle: &LoopHandle<'static, State>,
    state: &mut State,
    options: KmsOptions,
) -> Result<(), KmsError> {
    let (seat, notifier) = Seat::open(options.session)?;
    let name = seat.seat();
    let udev = UdevBackend::new(&name).map_err(KmsError::Udev)?;
    let libinput = Libinput::new_with_udev(LibinputSessionInterface::from(seat.clone()));
    let active = seat.is_active();
    state.backend = Backend::Kms(Box::new(Kms {
        seat,
        renderer: options.renderer,
        card: None,
        libinput,
        devices: Vec::new(),
        active,
        seen: false,
    }));
    let (id, path) = choose(&udev, &name)?;
    state.open_card(id, &path)?;
    handle
        .insert_source(udev, |event, (), state| state.udev(event))
        .map_err(watch("graphics devices"))?;
    sleep::watch_sleep(handle)?;
    if let Some(notifier) = notifier {
        watch_session(handle, notifier)?;
    }
    Ok(())
}

/// The graphics device to use. With several, which one the firmware used takes another look at all of them.
fn choose(udev: &UdevBackend, seat: &str) -> Result<(u64, PathBuf), KmsError> {
    let owned = |(id, path): (u64, &Path)| (id, path.to_owned());
    let mut devices = udev.device_list();
    let (first, second) = (devices.next(), devices.next());
    if second.is_none() {
        return first.map(owned).ok_or(KmsError::NoCard);
    }
    let primary = primary_gpu(seat).map_err(KmsError::Udev)?;
    udev.device_list()
        .find(|(_, path)| primary.as_deref().is_none_or(|primary| primary == *path))
        .map(owned)
        .ok_or(KmsError::NoCard)
}

/// Opens the input devices, once there is a picture; other backends bring theirs.
pub fn open_input(handle: &LoopHandle<'static, State>, state: &mut State) -> Result<(), KmsError> {
    let Some(kms) = state.kms() else {
        return Ok(());
    };
    let name = kms.seat.seat();
    let mut libinput = kms.libinput.clone();
    libinput
        .udev_assign_seat(&name)
        .map_err(|()| KmsError::Input(name))?;
    input::greet(state, &mut libinput);
    handle
        .insert_source(LibinputInputBackend::new(libinput), |event, (), state| {
            input::handle(state, event);
        })
        .map_err(watch("input devices"))?;
    Ok(())
}

fn watch_session(
    handle: &LoopHandle<'static, State>,
    notifier: LibSeatSessionNotifier,
) -> Result<(), KmsError> {
    handle
        .insert_source(notifier, |event, &mut (), state| match event {
            SessionEvent::PauseSession => state.suspend(),
            SessionEvent::ActivateSession => state.resume_session(),
        })
        .map_err(watch("the session"))?;
    Ok(())
}

impl State {
    fn kms(&mut self) -> Option<&mut Kms> {
        match &mut self.backend {
            Backend::Kms(kms) => Some(kms),
            _ => None,
        }
    }

    /// Calls `work` with the state and the device, which is taken out meanwhile.
    fn with_card(&mut self, work: impl FnOnce(&mut Self, &mut Card)) {
        let Some((id, mut card, token)) = self.kms().and_then(|kms| kms.card.take()) else {
            return;
        };
        work(self, &mut card);
        if let Some(kms) = self.kms() {
            kms.card = Some((id, card, token));
        }
    }

    fn open_card(&mut self, id: u64, path: &Path) -> Result<(), KmsError> {
        let handle = self.core.handle.clone();
        let Some(kms) = self.kms() else {
            return Ok(());
        };
        let renderer = kms.renderer;
        let (card, notifier) = Card::open(&mut kms.seat, path, renderer)?;
        let token = watch_card(&handle, notifier)?;
        if let Some(kms) = self.kms() {
            kms.card = Some((id, card, token));
        }
        self.with_card(Self::scan);
        Ok(())
    }

    fn close_card(&mut self) {
        let Some((_, card, token)) = self.kms().and_then(|kms| kms.card.take()) else {
            return;
        };
        self.core.handle.remove(token);
        for screen in card.into_screens() {
            self.lose(screen);
        }
    }

    fn udev(&mut self, event: UdevEvent) {
        let current = self.kms().and_then(|kms| kms.card.as_ref().map(|(id, ..)| *id));
        match event {
            UdevEvent::Changed { device_id } if current == Some(device_id) => self.with_card(Self::scan),
            UdevEvent::Removed { device_id } if current == Some(device_id) => {
                warn!("the graphics device is gone; waiting for one");
                self.with_card(|_, card| card.device.pause());
                self.close_card();
            }
            // The same device's node for rendering alone comes a moment before the one that screens are set with.
            UdevEvent::Added { path, .. } if !is_card(&path) => {}
            UdevEvent::Added { device_id, path } if current.is_none() => {
                if let Err(error) = self.open_card(device_id, &path) {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "a new graphics device cannot be used"
                    );
                }
            }
            UdevEvent::Added { path, .. } => {
                info!(path = %path.display(), "a second graphics device is not used");
            }
            UdevEvent::Changed { .. } | UdevEvent::Removed { .. } => {}
        }
    }

    /// Another session is in front.
    fn suspend(&mut self) {
        info!("session suspended");
        self.release_input();
        if let Some(kms) = self.kms() {
            kms.active = false;
            kms.libinput.suspend();
            if let Some((_, card, _)) = &mut kms.card {
                card.device.pause();
            }
        }
    }

    fn resume_session(&mut self) {
        info!("session resumed");
        let Some(kms) = self.kms() else {
            return;
        };
        kms.active = true;
        if kms.libinput.resume().is_err() {
            warn!("libinput cannot be resumed; unplug and plug input devices");
        }
        if let Some((_, card, _)) = &mut kms.card {
            card.resume();
        }
        self.with_card(Self::scan);
    }

    /// The configuration changed.
    pub(crate) fn kms_reload(&mut self) {
        self.with_card(Self::scan);
        let settings = self.core.config.input;
        if let Some(kms) = self.kms() {
            for device in &mut kms.devices {
                input::set_up(device, &settings);
            }
        }
    }

    /// Shows another virtual terminal.
    pub(crate) fn change_vt(&mut self, number: i32) {
        if let Some(kms) = self.kms()
            && let Err(error) = kms.seat.change_vt(number)
        {
            debug!(%error, number, "no other virtual terminal is shown");
        }
    }

    /// When a screen may be due; `None` if an event will tell.
    pub(crate) fn kms_deadline(&self) -> Option<Duration> {
        match &self.backend {
            Backend::Kms(kms) if kms.active => kms.card.as_ref()?.1.deadline(),
            _ => None,
        }
    }

    /// Draws what is to be drawn.
    pub(crate) fn kms_frames(&mut self) {
        let dirty = self.core.render.take_dirty();
        let Self {
            backend: Backend::Kms(kms),
            core,
        } = self
        else {
            return;
        };
        let card = match &mut kms.card {
            Some((_, card, _)) if kms.active && !card.is_dark() => card,
            _ => {
                // Nothing is drawn, so nobody has to wait for a frame.
                if dirty {
                    core.uploads_drawn();
                }
                return;
            }
        };
        if dirty {
            card.want();
        }
        card.draw(core);
    }

    fn blank(&mut self, crtc: crtc::Handle, metadata: Option<DrmEventMetadata>) {
        let now = self.core.clock.now();
        let at = match metadata.as_ref().map(|metadata| metadata.time) {
            // A device without blanks of its own says zero.
            Some(DrmEventTime::Monotonic(time)) if !time.is_zero() => time,
            _ => now,
        };
        if let Some(kms) = self.kms()
            && !std::mem::replace(&mut kms.seen, true)
        {
            info!(after_boot_ms = at.as_millis(), "first frame");
        }
        // A device without blanks of its own says zero here too.
        let blank = metadata.map(|metadata| u64::from(metadata.sequence));
        let sequence = blank.filter(|sequence| *sequence != 0);
        self.with_card(|_, card| {
            if let Some(blank) = card.blank(crtc)
                && let Some(mut feedback) = blank.feedback
            {
                let flags = Kind::Vsync | Kind::HwClock | Kind::HwCompletion;
                feedback.presented(
                    Time::<Monotonic>::from(at),
                    Refresh::fixed(blank.interval.max(Duration::from_nanos(1))),
                    sequence,
                    flags,
                );
            }
        });
    }
}

/// Whether a node of a graphics device is one that screens are set with.
fn is_card(path: &Path) -> bool {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str);
    name.is_some_and(|name| name.starts_with("card"))
}

fn watch_card(
    handle: &LoopHandle<'static, State>,
    notifier: DrmDeviceNotifier,
) -> Result<RegistrationToken, KmsError> {
    handle
        .insert_source(notifier, |event, metadata, state: &mut State| match event {
            DrmEvent::VBlank(crtc) => state.blank(crtc, metadata.take()),
            DrmEvent::Error(error) => warn!(%error, "the graphics device reports an error"),
        })
        .map_err(watch("the graphics device"))
}
