// SPDX-License-Identifier: MIT OR Apache-2.0
//! Offers of drags: Smithay ends a client that finishes one which was not dropped, not accepted, or has no action.
//!
//! What a client sends after its drop is dealt with in order, and nobody else changes the offer any more, so the end of
//! all its requests is known here. A drop that the client was not told of yet cannot be finished; all else that Smithay
//! would refuse may come of a request that was under way when the drop came, and is dropped.

use std::collections::VecDeque;

use wayland_server::protocol::{wl_data_device, wl_data_offer, wl_data_source};

use crate::rules::{Action, Patches, Request, State};
use crate::tables::Kind;
use crate::violation::{Rule, Violation};
use crate::wire::Args;

/// Drags that are remembered. One is over the client's windows at most; others were dropped and not finished yet.
const KEPT: usize = 8;

/// The actions that there are: copy, move, ask.
const ACTIONS: u32 = 0b111;

/// The drags that a client was told of.
#[derive(Debug, Default)]
pub(crate) struct Drags {
    /// The offer that was announced last, which may become that of a drag.
    announced: Offered,
    /// Oldest first.
    drags: VecDeque<Drag>,
}

#[derive(Debug, Default)]
struct Offered {
    offer: u32,
    types: Vec<String>,
    /// The actions of its source. They only become more; see [`State::source_actions`].
    actions: u32,
}

#[derive(Debug)]
struct Drag {
    /// The compositor's serial of its coming: with several data devices there is an offer for each.
    serial: u32,
    offers: Vec<u32>,
    what: Offered,
    /// Whether the last type that was accepted is one of the offer's. Smithay begins with yes.
    accepted: bool,
    /// Whether an action was chosen by the last request for one.
    has_action: bool,
    has_left: bool,
    dropped: bool,
    /// The offer that was finished.
    finished: Option<u32>,
}

impl Drags {
    fn of(&mut self, offer: u32) -> Option<&mut Drag> {
        self.drags.iter_mut().find(|drag| drag.offers.contains(&offer))
    }

    /// The id is no offer of a drag that is remembered: the client has destroyed it, or it is a new offer's.
    fn forget(&mut self, offer: u32) {
        for drag in &mut self.drags {
            drag.offers.retain(|known| *known != offer);
        }
        self.drags.retain(|drag| !drag.offers.is_empty());
    }

    fn entered(&mut self, serial: u32, offer: u32) {
        if offer == 0 || self.of(offer).is_some() {
            return;
        }
        let goes_on = |drag: &&mut Drag| drag.serial == serial && !drag.has_left;
        if let Some(drag) = self.drags.back_mut().filter(goes_on) {
            drag.offers.push(offer);
            return;
        }
        let announced = std::mem::take(&mut self.announced);
        let what = if announced.offer == offer {
            announced
        } else {
            Offered::default()
        };
        if self.drags.len() >= KEPT {
            self.drags.pop_front();
        }
        self.drags.push_back(Drag {
            serial,
            offers: vec![offer],
            what,
            accepted: true,
            has_action: false,
            has_left: false,
            dropped: false,
            finished: None,
        });
    }

    /// An event goes to the client, with the compositor's numbers.
    pub(crate) fn told(&mut self, id: u32, kind: Kind, opcode: u16, args: &Args<'_>) {
        match (kind, opcode) {
            (Kind::DataDevice, wl_data_device::EVT_DATA_OFFER_OPCODE) => {
                let offer = args.uint(0);
                // One that the client destroyed before it was a drag's may have become one after that.
                self.forget(offer);
                self.announced = Offered {
                    offer,
                    ..Offered::default()
                };
            }
            (Kind::DataDevice, wl_data_device::EVT_ENTER_OPCODE) => self.entered(args.uint(0), args.uint(4)),
            (Kind::DataDevice, wl_data_device::EVT_DROP_OPCODE) => {
                if let Some(drag) = self.drags.back_mut().filter(|drag| !drag.has_left) {
                    drag.dropped = true;
                }
            }
            (Kind::DataDevice, wl_data_device::EVT_LEAVE_OPCODE) => {
                if let Some(drag) = self.drags.back_mut() {
                    drag.has_left = true;
                }
            }
            (Kind::DataOffer, wl_data_offer::EVT_OFFER_OPCODE) if id == self.announced.offer => {
                // No type at all reads like an empty one.
                let text = args.text(0).filter(|text| !text.is_empty());
                self.announced.types.extend(text.map(str::to_owned));
            }
            (Kind::DataOffer, wl_data_offer::EVT_SOURCE_ACTIONS_OPCODE) if id == self.announced.offer => {
                self.announced.actions = args.uint(0);
            }
            _ => {}
        }
    }
}

impl State {
    /// `wl_data_offer`.
    pub(super) fn offer(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        let args = &request.args;
        match request.opcode {
            wl_data_offer::REQ_DESTROY_OPCODE => self.drags.forget(request.id),
            wl_data_offer::REQ_ACCEPT_OPCODE => {
                if let Some(drag) = self.drags.of(request.id) {
                    let wanted = args.text(1).unwrap_or("");
                    drag.accepted = drag.what.types.iter().any(|known| known == wanted);
                }
            }
            wl_data_offer::REQ_SET_ACTIONS_OPCODE => {
                let (actions, preferred) = (args.uint(0), args.uint(1));
                let refuse = |error: wl_data_offer::Error, detail: String| {
                    Err(request.violation(Rule::DragOffer, error.into(), detail))
                };
                if actions & !ACTIONS != 0 {
                    return refuse(
                        wl_data_offer::Error::InvalidActionMask,
                        format!("actions {actions:#x}"),
                    );
                }
                if preferred & !ACTIONS != 0 || preferred.count_ones() > 1 {
                    return refuse(
                        wl_data_offer::Error::InvalidAction,
                        format!("action {preferred:#x}"),
                    );
                }
                if let Some(drag) = self.drags.of(request.id) {
                    drag.has_action = drag.what.actions & actions != 0;
                }
            }
            wl_data_offer::REQ_FINISH_OPCODE => return self.finish(request),
            _ => {}
        }
        Ok(Action::Pass)
    }

    fn finish(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        let refuse = |detail| {
            let code = wl_data_offer::Error::InvalidFinish.into();
            Err(request.violation(Rule::DragOffer, code, detail))
        };
        let Some(drag) = self.drags.of(request.id) else {
            return Ok(Action::Drop);
        };
        if !drag.dropped {
            return refuse("it was not dropped");
        }
        match drag.finished {
            Some(offer) if offer == request.id => refuse("it is finished already"),
            None if drag.accepted && drag.has_action => {
                drag.finished = Some(request.id);
                Ok(Action::Pass)
            }
            // The source is told that the drag was cancelled when the offer is destroyed.
            _ => Ok(Action::Drop),
        }
    }

    /// `wl_data_source.set_actions`. During a drag actions only come: what an offer may choose must not be less than
    /// the other side was told.
    pub(super) fn source_actions(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        let actions = request.args.uint(0);
        if actions & !ACTIONS != 0 {
            let code = wl_data_source::Error::InvalidActionMask.into();
            return Err(request.violation(Rule::DragOffer, code, format!("actions {actions:#x}")));
        }
        let source = self.sources.entry(request.id).or_default();
        let kept = if source.is_dragged { source.actions } else { 0 };
        source.actions = actions | kept;
        if source.actions == actions {
            return Ok(Action::Pass);
        }
        Ok(Patches::default().with(0, source.actions.cast_signed()).action())
    }
}
