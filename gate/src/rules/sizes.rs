// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers that are sizes or places: negative sizes are refused or dropped, and extreme values are brought into a range
//! where the compositor's arithmetic cannot overflow. No screen is anywhere near these bounds.

use wayland_protocols::wp::viewporter::server::wp_viewport;
use wayland_protocols::xdg::shell::server::xdg_positioner;

use crate::rules::{Action, Context, Patches, Request};
use crate::violation::{Rule, Violation};

/// Largest coordinate and size of windows, popups and subsurfaces.
const MOST: i32 = 1 << 20;

/// Largest coordinate of regions and damage, where clients write "everything" as `i32::MAX`.
const MOST_AREA: i32 = 1 << 29;

/// Replaces the arguments that start at `first`: two places, then two sizes, brought into range.
pub(super) fn clamp_rectangle(request: &Request<'_>, first: u8, most: i32) -> Action {
    let mut patches = Patches::default();
    for index in first..first.saturating_add(4) {
        patches = clamped(patches, request, index, most);
    }
    patches.action()
}

/// Adds a replacement of the argument at `index` if it is beyond `most`.
pub(super) fn clamped(patches: Patches, request: &Request<'_>, index: u8, most: i32) -> Patches {
    let value = request.args.int(usize::from(index));
    let near = value.clamp(most.saturating_neg(), most);
    if near == value {
        patches
    } else {
        patches.with(index, near)
    }
}

/// A rectangle of a region or of damage as (x, y, width, height): dropped if it is empty or negative.
pub(super) fn area(request: &Request<'_>) -> Action {
    if request.args.int(2) <= 0 || request.args.int(3) <= 0 {
        return Action::Drop;
    }
    clamp_rectangle(request, 0, MOST_AREA)
}

/// Two places, brought into range.
pub(super) fn place(request: &Request<'_>, first: u8) -> Action {
    let patches = clamped(Patches::default(), request, first, MOST);
    clamped(patches, request, first.saturating_add(1), MOST).action()
}

/// `xdg_surface.set_window_geometry`.
pub(super) fn window_geometry(request: &Request<'_>, code: u32) -> Result<Action, Violation> {
    let (width, height) = (request.args.int(2), request.args.int(3));
    if width <= 0 || height <= 0 {
        return Err(request.violation(Rule::WindowSize, code, format!("{width}x{height}")));
    }
    Ok(clamp_rectangle(request, 0, MOST))
}

/// `xdg_toplevel.set_min_size` and `set_max_size`; 0 means none.
pub(super) fn window_size(request: &Request<'_>, code: u32) -> Result<Action, Violation> {
    let (width, height) = (request.args.int(0), request.args.int(1));
    if width < 0 || height < 0 {
        return Err(request.violation(Rule::WindowSize, code, format!("{width}x{height}")));
    }
    Ok(place(request, 0))
}

/// `xdg_positioner`.
pub(super) fn positioner(request: &Request<'_>) -> Result<Action, Violation> {
    let args = &request.args;
    let refuse = |width, height| {
        let code = xdg_positioner::Error::InvalidInput.into();
        Err(request.violation(Rule::PositionerSize, code, format!("{width}x{height}")))
    };
    match request.opcode {
        xdg_positioner::REQ_SET_SIZE_OPCODE if args.int(0) <= 0 || args.int(1) <= 0 => {
            refuse(args.int(0), args.int(1))
        }
        xdg_positioner::REQ_SET_ANCHOR_RECT_OPCODE if args.int(2) < 0 || args.int(3) < 0 => {
            refuse(args.int(2), args.int(3))
        }
        xdg_positioner::REQ_SET_PARENT_SIZE_OPCODE if args.int(0) < 0 || args.int(1) < 0 => {
            refuse(args.int(0), args.int(1))
        }
        // An anchor may be empty by the protocol, and may not by Smithay.
        xdg_positioner::REQ_SET_ANCHOR_RECT_OPCODE => {
            let mut patches = Patches::default();
            for index in 0..4 {
                patches = match index {
                    2 | 3 if args.int(usize::from(index)) == 0 => patches.with(index, 1),
                    _ => clamped(patches, request, index, MOST),
                };
            }
            Ok(patches.action())
        }
        xdg_positioner::REQ_SET_SIZE_OPCODE
        | xdg_positioner::REQ_SET_OFFSET_OPCODE
        | xdg_positioner::REQ_SET_PARENT_SIZE_OPCODE => Ok(place(request, 0)),
        _ => Ok(Action::Pass),
    }
}

/// `wp_viewport`; sizes are pixels, and rectangles of the source have 8 fractional bits.
pub(super) fn viewport(request: &Request<'_>, context: &Context<'_>) -> Result<Action, Violation> {
    let args = &request.args;
    let most = context.limits.buffer_dimension;
    let code = wp_viewport::Error::BadValue.into();
    let good = match request.opcode {
        wp_viewport::REQ_SET_SOURCE_OPCODE => {
            let most = most.saturating_mul(256);
            let values = [args.int(0), args.int(1), args.int(2), args.int(3)];
            let [x, y, width, height] = values;
            values == [-256; 4]
                || (x >= 0 && y >= 0 && width > 0 && height > 0 && values.iter().all(|v| *v <= most))
        }
        wp_viewport::REQ_SET_DESTINATION_OPCODE => {
            let size = [args.int(0), args.int(1)];
            size == [-1, -1] || size.iter().all(|v| (1..=most).contains(v))
        }
        _ => true,
    };
    if good {
        Ok(Action::Pass)
    } else {
        Err(request.violation(Rule::ViewportSize, code, "not a rectangle"))
    }
}
