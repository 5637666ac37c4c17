// SPDX-License-Identifier: MIT OR Apache-2.0
//! What ends a client, and what must not happen on the compositor's side.

use std::fmt;

use thiserror::Error;

use crate::services::ServiceError;
use crate::wire::Writer;

/// Codes of `wl_display.error`.
pub(crate) mod code {
    /// The object does not exist.
    pub(crate) const INVALID_OBJECT: u32 = 0;
    /// The request does not exist, or its arguments cannot be.
    pub(crate) const INVALID_METHOD: u32 = 1;
    /// A limit is reached.
    pub(crate) const NO_MEMORY: u32 = 2;
    /// Anything else that this compositor does not do.
    pub(crate) const IMPLEMENTATION: u32 = 3;
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// The rules of the gate. `docs/gate.md` explains each by its name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The rule's name in logs and documents.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

rules! {
    /// A message is shorter than its header, longer than 4096 bytes, or no multiple of four.
    MessageLength = "message-length",
    /// A request is to an object that does not exist.
    UnknownObject = "unknown-object",
    /// An interface has no such request, or not in the version of the object.
    UnknownRequest = "unknown-request",
    /// The arguments do not fill their message, or a text is not one.
    BadArguments = "bad-arguments",
    /// An argument names an object that does not exist or has another interface.
    WrongObject = "wrong-object",
    /// The id of a new object is neither the next one nor a free one.
    BadNewId = "bad-new-id",
    /// A global is bound that was not offered to this client, or not in that version.
    BadBind = "bad-bind",
    /// Descriptors came that no argument takes.
    UnsolicitedDescriptors = "unsolicited-descriptors",
    /// A message waits for a descriptor that does not come.
    MissingDescriptor = "missing-descriptor",
    /// The VM has too many objects.
    TooManyObjects = "too-many-objects",
    /// Too many callbacks are outstanding.
    TooManyCallbacks = "too-many-callbacks",
    /// The client has too many registries.
    TooManyRegistries = "too-many-registries",
    /// The VM has too many surfaces.
    TooManySurfaces = "too-many-surfaces",
    /// The VM has too many memory pools.
    TooManyPools = "too-many-pools",
    /// The VM has too many regions.
    TooManyRegions = "too-many-regions",
    /// The VM has too many windows.
    TooManyToplevels = "too-many-toplevels",
    /// The VM has too many popups.
    TooManyPopups = "too-many-popups",
    /// The VM has too many buffers.
    TooManyBuffers = "too-many-buffers",
    /// The VM's memory pools are too large together.
    PoolBytes = "pool-bytes",
    /// The VM's clients hold too many descriptors.
    TooManyDescriptors = "too-many-descriptors",
    /// The client or its VM has too many objects of an interface that is kept in lists.
    TooManyInstances = "too-many-instances",
    /// The VM has too many data sources.
    TooManySources = "too-many-sources",
    /// The MIME types of the VM's data sources are too long together.
    MimeBytes = "mime-bytes",
    /// A text is too long.
    StringLength = "string-length",
    /// A data source has too many MIME types.
    TooManyTypes = "too-many-types",
    /// A memory pool is made with no size, or shrinks.
    PoolSize = "pool-size",
    /// The descriptor of a pool is not memory of the pool's size.
    PoolMemory = "pool-memory",
    /// A buffer does not lie within its pool, or its size cannot be.
    BufferBounds = "buffer-bounds",
    /// A buffer has a format that this client was not offered.
    BufferFormat = "buffer-format",
    /// A window shows a buffer from the part of a pool that grew after it was shared.
    GrownPool = "grown-pool",
    /// A buffer scale is not positive.
    BufferScale = "buffer-scale",
    /// A buffer is attached with an offset, in a version that has a request of its own for that.
    AttachOffset = "attach-offset",
    /// A subsurface is its own parent or ancestor, or already has a parent.
    SubsurfaceParent = "subsurface-parent",
    /// Subsurfaces are nested too deeply.
    SubsurfaceDepth = "subsurface-depth",
    /// A tree has too many surfaces.
    TreeSurfaces = "tree-surfaces",
    /// A subsurface is placed next to itself or to a surface that is neither parent nor sibling.
    SubsurfaceSibling = "subsurface-sibling",
    /// A surface gets two roles at once, or another one than it had.
    SurfaceRole = "surface-role",
    /// An object of the shell is used before it is complete, or destroyed before what belongs to it.
    ObjectOrder = "object-order",
    /// A configure is acknowledged that was never sent, or was acknowledged before.
    UnsentConfigure = "unsent-configure",
    /// A surface or window gets a second one of what it may have once.
    SecondExtension = "second-extension",
    /// A popup has no parent, an impossible one, or is its own ancestor.
    PopupParent = "popup-parent",
    /// A window is its own parent or ancestor.
    WindowParent = "window-parent",
    /// Popups and windows are chained too deeply.
    ParentDepth = "parent-depth",
    /// A window geometry or a smallest or largest size is not a size.
    WindowSize = "window-size",
    /// A positioner gets a size that is not one.
    PositionerSize = "positioner-size",
    /// A viewport gets a rectangle that is not one.
    ViewportSize = "viewport-size",
    /// A viewport of a destroyed surface is changed.
    ViewportSurface = "viewport-surface",
    /// The offer of a drag is finished before the drop or twice, or an action is none.
    DragOffer = "drag-offer",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The longest detail in bytes, after escaping.
const MAX_DETAIL: usize = 240;

/// A rule that a client broke. The client must be ended.
///
/// [`Display`](fmt::Display) is fit for a log: text of a client appears escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{rule}: {interface}@{object}: {detail}")]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The interface of the object that the client is told about.
    pub interface: &'static str,
    /// The object that the client is told about.
    pub object: u32,
    /// The error code that the client is told, of that interface.
    pub code: u32,
    detail: String,
}

impl Violation {
    /// A broken rule, told with the error `code` of the object.
    pub(crate) fn new(rule: Rule, target: (u32, &'static str), code: u32, detail: impl AsRef<str>) -> Self {
        let mut safe = String::new();
        for c in detail.as_ref().chars() {
            // Backslashes and quotes are harmless; only what a terminal acts on is escaped.
            let escaped = if c.is_ascii_graphic() || c == ' ' {
                c.to_string()
            } else {
                c.escape_default().to_string()
            };
            if safe.len().saturating_add(escaped.len()) > MAX_DETAIL {
                safe.push_str("..");
                break;
            }
            safe.push_str(&escaped);
        }
        Self {
            rule,
            interface: target.1,
            object: target.0,
            code,
            detail: safe,
        }
    }

    /// A broken rule, told with an error code of `wl_display`.
    pub(crate) fn display(rule: Rule, code: u32, detail: impl AsRef<str>) -> Self {
        Self::new(rule, (1, "wl_display"), code, detail)
    }

    /// What happened, escaped and cut.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The `wl_display.error` event to send to the client before its connection is closed.
    #[must_use]
    pub fn error_event(&self) -> Vec<u8> {
        let message = format!("{} (rule {} of the compositor's gate)", self.detail, self.rule);
        Writer::new(1, 0)
            .uint(self.object)
            .uint(self.code)
            .text(&message)
            .finish()
    }
}

/// The compositor's side sent what cannot be passed on. Not the client's fault; its connection cannot go on all the same.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerFault {
    /// The compositor's library and the gate disagree about the protocol: a bug.
    #[error("the compositor sent a malformed event: {0}")]
    Malformed(String),
    /// The client has kept so many objects that the compositor made.
    #[error("the client keeps more than {0} objects that the compositor made")]
    TooManyObjects(usize),
    /// An event with a descriptor that is not on the closed list.
    #[error("the event {0} carries a descriptor and is not on the list of those that may")]
    Descriptor(String),
    /// Memory for the client could not be had.
    #[error("memory for the client could not be had")]
    Service(#[source] ServiceError),
}

impl ServerFault {
    /// Whether a client can bring it about.
    #[must_use]
    pub const fn is_provoked(&self) -> bool {
        matches!(self, Self::TooManyObjects(_))
    }
}
