// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of the scene that Smithay has not: a bitmap at an exact physical rectangle.

use smithay::backend::renderer::Renderer;
use smithay::backend::renderer::element::memory::MemoryRenderBufferRenderElement;
use smithay::backend::renderer::element::{Element, Id, Kind, RenderElement, UnderlyingStorage};
use smithay::backend::renderer::utils::{CommitCounter, DamageSet};
use smithay::utils::{Buffer, Physical, Rectangle, Scale, Transform};

use super::framed::Framed;
use super::painter::Painter;

smithay::backend::renderer::element::render_elements! {
    /// Everything that a scene consists of.
    pub SceneElement<R> where R: Painter;
    /// The cursor, or a notice.
    Bitmap=Exact<MemoryRenderBufferRenderElement<R>>,
    /// What a client shows, on an opaque plate, in the arms of its VM.
    Framed=Framed<R>,
}

impl<R: Painter> std::fmt::Debug for SceneElement<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bitmap(_) => "Bitmap",
            Self::Framed(_) => "Framed",
            Self::_GenericCatcher(_) => "",
        })
    }
}

/// A bitmap drawn pixel for pixel: Smithay sizes bitmaps in logical pixels, which no fractional scale keeps exact.
#[derive(Debug)]
pub struct Exact<E> {
    inner: E,
    rect: Rectangle<i32, Physical>,
}

impl<E: Element> Exact<E> {
    /// Shows all of `inner` at `rect`.
    pub fn new(inner: E, rect: Rectangle<i32, Physical>) -> Self {
        Self { inner, rect }
    }
}

impl<E: Element> Element for Exact<E> {
    fn id(&self) -> &Id {
        self.inner.id()
    }

    fn current_commit(&self) -> CommitCounter {
        self.inner.current_commit()
    }

    fn src(&self) -> Rectangle<f64, Buffer> {
        self.inner.src()
    }

    fn transform(&self) -> Transform {
        self.inner.transform()
    }

    fn geometry(&self, _scale: Scale<f64>) -> Rectangle<i32, Physical> {
        self.rect
    }

    fn damage_since(&self, _scale: Scale<f64>, commit: Option<CommitCounter>) -> DamageSet<i32, Physical> {
        if commit == Some(self.current_commit()) {
            DamageSet::default()
        } else {
            DamageSet::from_slice(&[Rectangle::from_size(self.rect.size)])
        }
    }

    fn alpha(&self) -> f32 {
        self.inner.alpha()
    }

    fn kind(&self) -> Kind {
        self.inner.kind()
    }
}

impl<R: Renderer, E: RenderElement<R>> RenderElement<R> for Exact<E> {
    fn draw(
        &self,
        frame: &mut R::Frame<'_, '_>,
        src: Rectangle<f64, Buffer>,
        dst: Rectangle<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
        opaque_regions: &[Rectangle<i32, Physical>],
    ) -> Result<(), R::Error> {
        self.inner.draw(frame, src, dst, damage, opaque_regions)
    }

    fn underlying_storage(&self, renderer: &mut R) -> Option<UnderlyingStorage<'_>> {
        self.inner.underlying_storage(renderer)
    }
}
