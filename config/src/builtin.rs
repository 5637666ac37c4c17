// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every built-in default, in one place.

use std::sync::Arc;
use std::time::Duration;

use heraldry_identity::{Arms, Pattern, Rgb, TitleLevel, VmName};

use crate::keys::{KeyChord, Keys, Modifiers};
use crate::limits::Limits;
use crate::origin::{Origin, Origins};
use crate::policy::globals::GlobalSet;
use crate::settings::{
    Appearance, CursorRule, Defaults, Focus, Fullscreen, HandOver, Host, Keyboard, MemfdLimits, OnViolation,
    Rules, Title, UnknownVm, UnsealedMemory, VmConfig, Watchdog,
};

/// The arms of a VM that the file does not name: the strongest warning there is.
pub const UNKNOWN_ARMS: Arms = Arms {
    color: Rgb::new(0x8a, 0x6f, 0x88),
    pattern: Pattern::Cross,
    glyph: '?',
};

/// The display name of a VM that the file does not name; no configured VM may use it.
pub const UNKNOWN_NAME: &str = "UNKNOWN";

/// The rules of a VM whose file says nothing else.
#[must_use]
pub fn rules() -> Rules {
    Rules {
        title: Title {
            level: TitleLevel::SafeUtf8,
            max: 96,
        },
        fullscreen: Fullscreen::Framed,
        cursor: CursorRule::Shapes,
        unsealed_memory: UnsealedMemory::Refuse,
        focus: Focus {
            click_guard: Duration::from_millis(300),
            on_map: false,
        },
        globals: Arc::new(GlobalSet::base()),
        on_violation: OnViolation::EndClient,
        limits: Limits::default(),
    }
}

/// The node `defaults`.
#[must_use]
pub fn defaults() -> Defaults {
    Defaults {
        unknown_vm: UnknownVm::Refuse,
        rules: rules(),
        origins: Origins::default(),
    }
}

/// The node `keyboard`.
#[must_use]
pub fn keyboard() -> Keyboard {
    Keyboard {
        layout: "us".to_owned(),
        variant: String::new(),
        options: String::new(),
        repeat_rate: 25,
        repeat_delay: 400,
    }
}

/// The node `appearance`.
#[must_use]
pub const fn appearance() -> Appearance {
    Appearance {
        background: Rgb::new(0x20, 0x24, 0x2b),
        font_size: 13,
        frame_width: 6,
        title_height: 30,
    }
}

/// The node `host`.
#[must_use]
pub fn host() -> Host {
    Host {
        dir: "/run/heraldry".into(),
        hand_over: HandOver::Token,
        memfd: MemfdLimits {
            bytes_per_vm: 64 << 20,
            count_per_vm: 256,
            bytes_for_others: 0,
        },
        // Longer than the compositor's watchdog lets it stand still: then the client waits for the next.
        withdraw_after: Duration::from_secs(15),
        connections_per_vm: 64,
        descriptors_per_connection: 256,
    }
}

/// The strictest configuration: no VM is known, and every unknown one is refused.
#[must_use]
pub fn config() -> Option<crate::Config> {
    crate::parse("built-in", "schema 1\n").ok()
}

/// The node `watchdog`.
#[must_use]
pub const fn watchdog() -> Watchdog {
    Watchdog {
        warn: Duration::from_secs(1),
        abort: Duration::from_secs(10),
    }
}

/// The node `keys`.
#[must_use]
pub fn keys() -> Keys {
    const NONE: Modifiers = Modifiers {
        ctrl: false,
        alt: false,
        shift: false,
        logo: false,
    };
    const SUPER: Modifiers = Modifiers { logo: true, ..NONE };
    const ALT: Modifiers = Modifiers { alt: true, ..NONE };
    let chord = |modifiers, key: &str| KeyChord {
        modifiers,
        key: key.to_owned(),
    };
    Keys {
        close: chord(SUPER, "q"),
        maximize: chord(SUPER, "Up"),
        minimize: chord(SUPER, "Down"),
        fullscreen: chord(SUPER, "f"),
        next_window: chord(ALT, "Tab"),
        previous_window: chord(Modifiers { shift: true, ..ALT }, "Tab"),
        hide_vm: chord(SUPER, "Escape"),
        show_vm: chord(Modifiers { shift: true, ..SUPER }, "Escape"),
        quit: chord(Modifiers { shift: true, ..SUPER }, "e"),
        reboot: chord(
            Modifiers {
                ctrl: true,
                alt: true,
                ..NONE
            },
            "Delete",
        ),
        power_off: chord(
            Modifiers {
                ctrl: true,
                alt: true,
                ..NONE
            },
            "End",
        ),
        move_modifier: SUPER,
    }
}

/// The settings of a VM that the file does not name, where `unknown-vm` is `quarantine`.
#[must_use]
pub fn unknown_vm(name: &VmName, keyboard: &Keyboard) -> VmConfig {
    let rules = Rules {
        title: Title {
            level: TitleLevel::Ascii,
            max: 32,
        },
        fullscreen: Fullscreen::Deny,
        limits: Limits::quarantine(),
        ..rules()
    };
    VmConfig {
        name: name.clone(),
        display_name: format!("{UNKNOWN_NAME} {name}").into(),
        arms: UNKNOWN_ARMS,
        keyboard: keyboard.clone(),
        rules,
        owner: None,
        origin: Origin::BuiltIn,
        origins: Origins::default(),
    }
}
