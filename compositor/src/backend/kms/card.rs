// SPDX-License-Identifier: MIT OR Apache-2.0
//! One graphics device: which connectors it has, what is shown on each, and when.

use std::collections::HashMap;
use std::time::Duration;

use heraldry_config::{Config, OutputSettings};
use rustix::fs::OFlags;
use smithay::backend::drm::{DrmDevice, DrmDeviceFd, DrmDeviceNotifier};
use smithay::backend::session::Session as _;
use smithay::reexports::drm::Device as _;
use smithay::reexports::drm::control::{Device as _, Mode, ResourceHandles, connector, crtc};
use smithay::utils::DeviceFd;
use tracing::{info, warn};

use super::KmsError;
use super::modes::{self, ModeInfo};
use super::paint::{Canvas, PaintError, Painter, RendererChoice};
use super::session::Seat;
use crate::desktop::frame_clock::{Drawn, FrameClock};
use crate::desktop::outputs::{ScreenId, Setup};
use crate::state::{Core, State};

/// A connector with something plugged in.
#[derive(Debug)]
pub(super) struct Plugged {
    handle: connector::Handle,
    name: String,
    modes: Vec<Mode>,
    pipes: Vec<crtc::Handle>,
}

/// A screen and the pipe that shows it.
pub(super) struct Head {
    pub(super) screen: ScreenId,
    crtc: crtc::Handle,
    name: String,
    mode: Mode,
    canvas: Canvas,
    clock: FrameClock,
}

/// The device.
pub(super) struct Card {
    pub(super) device: DrmDevice,
    pub(super) painter: Painter,
    heads: HashMap<connector::Handle, Head>,
}

impl Card {
    /// Opens the device at `path`.
    pub(super) fn open(
        seat: &mut Seat,
        path: &std::path::Path,
        choice: RendererChoice,
    ) -> Result<(Self, DrmDeviceNotifier), KmsError> {
        let card = |why: String| KmsError::Card {
            path: path.to_owned(),
            why,
        };
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let fd = seat.open(path, flags).map_err(|error| card(error.to_string()))?;
        let fd = DrmDeviceFd::new(DeviceFd::from(fd));
        let (device, notifier) = DrmDevice::new(fd.clone(), true).map_err(|error| card(error.to_string()))?;
        let driver = fd
            .get_driver()
            .map(|driver| driver.name().to_string_lossy().into_owned());
        let painter = Painter::new(&fd, choice).map_err(|error| card(error.to_string()))?;
        info!(
            path = %path.display(),
            driver = driver.unwrap_or_default(),
            atomic = device.is_atomic(),
            renderer = painter.name(),
            "graphics device opened"
        );
        let heads = HashMap::new();
        Ok((
            Self {
                device,
                painter,
                heads,
            },
            notifier,
        ))
    }

    /// What is plugged in. A connector that goes while it is looked at is not.
    fn plugged(&self) -> Result<Vec<Plugged>, KmsError> {
        let resources = self.device.resource_handles().map_err(KmsError::Connectors)?;
        let looked = resources.connectors().iter().filter_map(|handle| {
            let info = self.device.get_connector(*handle, true).ok()?;
            let name = format!("{}-{}", info.interface().as_str(), info.interface_id());
            (info.state() == connector::State::Connected && !info.modes().is_empty()).then(|| Plugged {
                handle: *handle,
                name,
                modes: info.modes().to_vec(),
                pipes: self.pipes(&resources, &info),
            })
        });
        Ok(looked.collect())
    }

    fn pipes(&self, resources: &ResourceHandles, info: &connector::Info) -> Vec<crtc::Handle> {
        let mut pipes: Vec<_> = info
            .encoders()
            .iter()
            .filter_map(|encoder| self.device.get_encoder(*encoder).ok())
            .flat_map(|encoder| resources.filter_crtcs(encoder.possible_crtcs()))
            .collect();
        pipes.sort_unstable_by_key(|pipe| u32::from(*pipe));
        pipes.dedup();
        pipes
    }

    /// The head that a pipe shows.
    fn head_of(&mut self, crtc: crtc::Handle) -> Option<&mut Head> {
        self.heads.values_mut().find(|head| head.crtc == crtc)
    }

    /// Something may look different on every screen.
    pub(super) fn want(&mut self) {
        for head in self.heads.values_mut() {
            head.clock.want();
        }
    }

    /// Whether there is nothing to draw on.
    pub(super) fn is_dark(&self) -> bool {
        self.heads.is_empty()
    }

    /// When a screen may be due; `None` if an event will tell.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.heads.values().filter_map(|head| head.clock.deadline()).min()
    }

    /// Draws the screens whose time it is.
    pub(super) fn draw(&mut self, core: &mut Core) {
        let mut drawn = false;
        for head in self.heads.values_mut() {
            let start = core.clock.now();
            if !head.clock.is_due(start) {
                continue;
            }
            let outcome = self.painter.draw(&mut head.canvas, core, head.screen);
            if matches!(outcome, Ok(false))
                && let Some(mut feedback) = core.frame_drawn(head.screen, start)
            {
                feedback.discarded();
            }
            drawn |= outcome.is_ok();
            if let Err(error) = &outcome
                && !matches!(error, PaintError::Inactive)
            {
                if head.clock.failures() == 0 {
                    warn!(connector = head.name, %error, "a frame was not shown; trying again");
                }
                if let Err(error) = head.canvas.reset() {
                    warn!(connector = head.name, %error, "the screen cannot be set up again");
                }
            }
            let frame = Drawn {
                start,
                end: core.clock.now(),
            };
            match outcome {
                Ok(true) => head.clock.flips(frame),
                Ok(false) => head.clock.shown(frame),
                Err(_) => head.clock.failed(frame),
            }
        }
        if drawn {
            // VMs that had to wait for a frame go on.
            core.uploads_drawn();
        }
    }

    /// A pipe's vertical blank. Returns the screen, its interval and who wants to know.
    pub(super) fn blank(&mut self, crtc: crtc::Handle) -> Option<Presented> {
        let head = self.head_of(crtc)?;
        head.clock.blank();
        Some(Presented {
            interval: head.clock.interval(),
            feedback: head.canvas.seen(),
        })
    }

    /// The device was somebody else's, and is ours again.
    pub(super) fn resume(&mut self) {
        if let Err(error) = self.device.activate(false) {
            warn!(%error, "the graphics device cannot be taken back");
        }
        for head in self.heads.values_mut() {
            if let Err(error) = head.canvas.reset() {
                warn!(connector = head.name, %error, "the screen cannot be set up again");
            }
            head.clock.forget();
        }
    }

    /// Takes all screens away, because the device is gone.
    pub(super) fn into_screens(self) -> Vec<ScreenId> {
        self.heads.into_values().map(|head| head.screen).collect()
    }
}

/// A frame that is seen.
pub(super) struct Presented {
    pub(super) interval: Duration,
    pub(super) feedback: Option<crate::frame_feedback::FrameFeedback>,
}

fn settings(config: &Config, name: &str) -> OutputSettings {
    config.outputs.get(name).cloned().unwrap_or_default()
}

/// The connectors to show something on: all that are not off, or all if that would leave none.
fn lit(plugged: Vec<Plugged>, config: &Config) -> Vec<Plugged> {
    let on = |plugged: &Plugged| !settings(config, &plugged.name).off;
    if plugged.iter().any(on) {
        plugged.into_iter().filter(on).collect()
    } else {
        if !plugged.is_empty() {
            warn!("the configuration switches every screen off; all are used");
        }
        plugged
    }
}

impl State {
    /// Brings the screens in line with what is plugged in and with the configuration.
    pub(super) fn scan(&mut self, card: &mut Card) {
        let config = std::sync::Arc::clone(&self.core.config);
        let plugged = match card.plugged() {
            Ok(plugged) => lit(plugged, &config),
            Err(error) => {
                warn!(%error, "connectors cannot be listed; screens stay as they are");
                return;
            }
        };
        let gone: Vec<_> = card
            .heads
            .keys()
            .filter(|handle| !plugged.iter().any(|plugged| plugged.handle == **handle))
            .copied()
            .collect();
        for handle in gone {
            if let Some(mut head) = card.heads.remove(&handle) {
                info!(connector = head.name, "unplugged");
                head.canvas.clear();
                self.lose(head.screen);
            }
        }
        let wanted: Vec<_> = plugged
            .iter()
            .map(|plugged| (plugged.handle, plugged.pipes.clone()))
            .collect();
        let current = card
            .heads
            .iter()
            .map(|(handle, head)| (*handle, head.crtc))
            .collect();
        let assigned = modes::assign(&wanted, &current);
        for plugged in plugged {
            let settings = settings(&config, &plugged.name);
            match assigned.get(&plugged.handle) {
                Some(crtc) => self.show(card, &plugged, *crtc, &settings),
                None => warn!(
                    connector = plugged.name,
                    "the device has no pipe left for this screen"
                ),
            }
        }
        if card.heads.is_empty() {
            info!("no screen is plugged in");
        }
        self.core.render.schedule();
    }

    /// A screen has no connector any more. The last one keeps its place on the desktop, in the dark.
    pub(super) fn lose(&mut self, screen: ScreenId) {
        if !self.unplug(screen)
            && let Some(screen) = self.core.outputs.get_mut(screen)
        {
            screen.connector = None;
        }
    }

    /// Shows the desktop on a connector.
    fn show(&mut self, card: &mut Card, plugged: &Plugged, crtc: crtc::Handle, settings: &OutputSettings) {
        let infos: Vec<_> = plugged.modes.iter().map(ModeInfo::from).collect();
        let Some((index, exact)) = modes::choose(&infos, settings.mode) else {
            return;
        };
        let (Some(mode), Some(info)) = (plugged.modes.get(index).copied(), infos.get(index)) else {
            return;
        };
        if !exact {
            warn!(connector = plugged.name, mode = ?settings.mode, "the screen has no such mode; its preferred one is used");
        }
        let setup = Setup {
            size: (i32::from(info.size.0), i32::from(info.size.1)).into(),
            refresh: i32::try_from(info.millihertz).unwrap_or(60_000),
            scale: settings.scale.unwrap_or(1.0),
            transform: settings.transform,
            position: settings.position.map(Into::into),
        };
        if let Some(head) = card.heads.get_mut(&plugged.handle) {
            if head.mode != mode {
                if let Err(error) = head.canvas.use_mode(mode) {
                    warn!(connector = plugged.name, %error, "the screen does not take the mode");
                    return;
                }
                head.mode = mode;
                head.clock.set_interval(info.interval());
            }
            let screen = head.screen;
            self.set_up(screen, setup);
            return;
        }
        let screen = self.screen_for(setup);
        match self.light(card, plugged, crtc, mode, screen) {
            Ok(canvas) => {
                info!(
                    connector = plugged.name,
                    width = info.size.0,
                    height = info.size.1,
                    millihertz = info.millihertz,
                    scale = setup.scale,
                    "screen lit"
                );
                if let Some(screen) = self.core.outputs.get_mut(screen) {
                    screen.connector = Some(plugged.name.clone());
                }
                let head = Head {
                    screen,
                    crtc,
                    name: plugged.name.clone(),
                    mode,
                    canvas,
                    clock: FrameClock::new(info.interval()),
                };
                card.heads.insert(plugged.handle, head);
                card.want();
            }
            Err(error) => {
                warn!(connector = plugged.name, %error, "the screen cannot be lit");
                self.lose(screen);
            }
        }
    }

    /// The screen that lost its connector, if there is one, or another one.
    fn screen_for(&mut self, setup: Setup) -> ScreenId {
        let dark = self
            .core
            .outputs
            .iter()
            .find(|screen| screen.connector().is_none())
            .map(crate::desktop::outputs::Screen::id);
        match dark {
            Some(id) => {
                self.set_up(id, setup);
                id
            }
            None => self.plug(setup),
        }
    }

    fn light(
        &self,
        card: &mut Card,
        plugged: &Plugged,
        crtc: crtc::Handle,
        mode: Mode,
        screen: ScreenId,
    ) -> Result<Canvas, PaintError> {
        let surface = card
            .device
            .create_surface(crtc, mode, &[plugged.handle])
            .map_err(|error| PaintError::Device(error.to_string()))?;
        let screen = self
            .core
            .outputs
            .get(screen)
            .ok_or(crate::backend::RenderError::NoScreen)?;
        card.painter.canvas(&card.device, surface, screen.output())
    }
}
