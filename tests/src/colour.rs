// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pictures as tests look at them: where is a colour, and where is it not.

use std::path::Path;

/// Red, green, blue.
pub type Colour = [u8; 3];

/// Colours that neither frames nor arms nor the background use.
pub mod key {
    use super::Colour;

    /// Magenta.
    pub const MAGENTA: Colour = [0xff, 0x00, 0xfe];
    /// Cyan.
    pub const CYAN: Colour = [0x01, 0xff, 0xfd];
    /// Yellow.
    pub const YELLOW: Colour = [0xfd, 0xfe, 0x02];
}

/// A rectangle of pixels: left, top, width, height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Left edge.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Width.
    pub w: i32,
    /// Height.
    pub h: i32,
}

impl Area {
    /// Whether a pixel is inside.
    #[must_use]
    pub fn contains(&self, x: i32, y: i32) -> bool {
        (self.x..self.x + self.w).contains(&x) && (self.y..self.y + self.h).contains(&y)
    }
}

/// A picture of the screen.
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    width: i32,
    rgba: Vec<u8>,
}

impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pixels")
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}

impl Pixels {
    /// From rows of R G B A.
    #[must_use]
    pub fn new(width: u32, rgba: Vec<u8>) -> Self {
        Self {
            width: i32::try_from(width).expect("a width"),
            rgba,
        }
    }

    /// Reads a PNG with 8 bits of R G B, and perhaps A.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let file = std::fs::File::open(path).expect("a picture");
        let mut decoder = png::Decoder::new(std::io::BufReader::new(file));
        // QEMU's have no transparency.
        decoder.set_transformations(png::Transformations::ALPHA);
        let mut reader = decoder.read_info().expect("a PNG");
        let mut rgba = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut rgba).expect("pixels");
        assert_eq!(info.color_type, png::ColorType::Rgba, "kind of picture");
        Self::new(info.width, rgba)
    }

    /// A picture of this size, each of whose pixels is one of this.
    ///
    /// # Panics
    ///
    /// There is no such pixel.
    #[must_use]
    pub fn taken_from(&self, (width, height): (i32, i32), from: impl Fn((i32, i32)) -> (i32, i32)) -> Self {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let rgba = places.flat_map(|at| {
            let (x, y) = from(at);
            let [r, g, b] = self.at(x, y);
            [r, g, b, 255]
        });
        Self {
            width,
            rgba: rgba.collect(),
        }
    }

    /// Where another picture is first different, or that it has another size.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        if (self.width, self.rgba.len()) != (other.width, other.rgba.len()) {
            return Some(format!("{} and {} pixels wide", self.width, other.width));
        }
        let mut pairs = self.iter().zip(other.iter());
        let ((x, y, one), (.., two)) = pairs.find(|((.., one), (.., two))| one != two)?;
        Some(format!("at {x},{y} {one:02x?} and {two:02x?}"))
    }

    /// Every pixel with its place.
    pub fn iter(&self) -> impl Iterator<Item = (i32, i32, Colour)> + '_ {
        self.rgba.chunks_exact(4).zip(0_i32..).map(|(pixel, index)| {
            let colour = match *pixel {
                [r, g, b, _] => [r, g, b],
                _ => [0; 3],
            };
            (index % self.width, index / self.width, colour)
        })
    }

    /// The colour of a pixel.
    #[must_use]
    pub fn at(&self, x: i32, y: i32) -> Colour {
        let index = usize::try_from((y * self.width + x) * 4).expect("a pixel of the picture");
        match self.rgba.get(index..index + 3) {
            Some(&[r, g, b]) => [r, g, b],
            _ => panic!("{x},{y} is outside of the picture"),
        }
    }

    /// The smallest rectangle around all pixels of a colour, and how many there are.
    #[must_use]
    pub fn find(&self, colour: Colour) -> Option<(Area, i32)> {
        let mut found: Option<(i32, i32, i32, i32, i32)> = None;
        for (x, y, _) in self.iter().filter(|(.., pixel)| *pixel == colour) {
            found = Some(match found {
                None => (x, y, x, y, 1),
                Some((l, t, r, b, n)) => (l.min(x), t.min(y), r.max(x), b.max(y), n + 1),
            });
        }
        found.map(|(l, t, r, b, n)| {
            let area = Area {
                x: l,
                y: t,
                w: r - l + 1,
                h: b - t + 1,
            };
            (area, n)
        })
    }

    /// Asserts that a colour fills a rectangle and is nowhere else.
    #[track_caller]
    pub fn assert_only_in(&self, colour: Colour, area: Area) {
        assert_eq!(
            self.find(colour),
            Some((area, area.w * area.h)),
            "place and number of the pixels of {colour:02x?}"
        );
    }
}
