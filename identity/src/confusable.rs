// SPDX-License-Identifier: MIT OR Apache-2.0
//! How alike two arms or two names look: what keeps two VMs apart for the eye.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::arms::{Arms, Rgb};

/// The colours of two VMs must be at least this far apart (CIEDE2000; 2 is just noticeable side by side, and frames
/// are seen one after the other).
pub const MIN_COLOR_DISTANCE: f64 = 12.0;

/// The colours of two VMs with the same pattern and the same glyph must be at least this far apart.
pub const MIN_COLOR_DISTANCE_ALONE: f64 = 30.0;

/// How far apart the colours of two arms must be, so that the arms as a whole differ.
#[must_use]
pub fn required_distance(a: &Arms, b: &Arms) -> f64 {
    if a.pattern == b.pattern && a.glyph == b.glyph {
        MIN_COLOR_DISTANCE_ALONE
    } else {
        MIN_COLOR_DISTANCE
    }
}

/// CIE L*a*b*, D65.
#[derive(Debug, Clone, Copy)]
struct Lab {
    l: f64,
    a: f64,
    b: f64,
}

impl From<Rgb> for Lab {
    fn from(color: Rgb) -> Self {
        let linear = |channel: u8| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        let (r, g, b) = (linear(color.r), linear(color.g), linear(color.b));
        let x = (0.412_456_4 * r + 0.357_576_1 * g + 0.180_437_5 * b) / 0.950_47;
        let y = 0.212_672_9 * r + 0.715_152_2 * g + 0.072_175_0 * b;
        let z = (0.019_333_9 * r + 0.119_192_0 * g + 0.950_304_1 * b) / 1.088_83;
        let f = |t: f64| {
            if t > 216.0 / 24389.0 {
                t.cbrt()
            } else {
                (24389.0 / 27.0 * t + 16.0) / 116.0
            }
        };
        let (fx, fy, fz) = (f(x), f(y), f(z));
        Self {
            l: 116.0 * fy - 16.0,
            a: 500.0 * (fx - fy),
            b: 200.0 * (fy - fz),
        }
    }
}

/// The perceived distance of two colours: CIEDE2000.
#[must_use]
pub fn color_distance(one: Rgb, other: Rgb) -> f64 {
    ciede2000(Lab::from(one), Lab::from(other))
}

/// CIEDE2000 after Sharma, Wu and Dalal (2005), with their names.
fn ciede2000(one: Lab, two: Lab) -> f64 {
    let pow7 = 25.0_f64.powi(7);
    let c_mean = f64::midpoint(one.a.hypot(one.b), two.a.hypot(two.b));
    let g = 0.5 * (1.0 - (c_mean.powi(7) / (c_mean.powi(7) + pow7)).sqrt());
    let polar = |lab: Lab| {
        let a = lab.a * (1.0 + g);
        (a.hypot(lab.b), lab.b.atan2(a).to_degrees().rem_euclid(360.0))
    };
    let ((c1, h1), (c2, h2)) = (polar(one), polar(two));
    // A grey has no hue: what follows from it is multiplied by a chroma of 0.
    let turn = match h2 - h1 {
        d if d > 180.0 => d - 360.0,
        d if d < -180.0 => d + 360.0,
        d => d,
    };
    let d_l = two.l - one.l;
    let d_c = c2 - c1;
    let d_h = 2.0 * (c1 * c2).sqrt() * (turn.to_radians() / 2.0).sin();
    let l_mean = f64::midpoint(one.l, two.l);
    let c_mean = f64::midpoint(c1, c2);
    let h_mean = match h1 + h2 {
        sum if (h1 - h2).abs() <= 180.0 => sum / 2.0,
        sum if sum < 360.0 => (sum + 360.0) / 2.0,
        sum => (sum - 360.0) / 2.0,
    };
    let cos = |degrees: f64| degrees.to_radians().cos();
    let t = 1.0 - 0.17 * cos(h_mean - 30.0) + 0.24 * cos(2.0 * h_mean) + 0.32 * cos(3.0 * h_mean + 6.0)
        - 0.20 * cos(4.0 * h_mean - 63.0);
    let l50 = (l_mean - 50.0).powi(2);
    let s_l = 1.0 + 0.015 * l50 / (20.0 + l50).sqrt();
    let s_c = 1.0 + 0.045 * c_mean;
    let s_h = 1.0 + 0.015 * c_mean * t;
    let theta = 30.0 * (-((h_mean - 275.0) / 25.0).powi(2)).exp();
    let r_c = 2.0 * (c_mean.powi(7) / (c_mean.powi(7) + pow7)).sqrt();
    let r_t = -r_c * (2.0 * theta.to_radians()).sin();
    let (l, c, h) = (d_l / s_l, d_c / s_c, d_h / s_h);
    (l * l + c * c + h * h + r_t * c * h).max(0.0).sqrt()
}

/// What is left of a name when everything is taken away that an eye may overlook: two names with the same skeleton
/// look alike (Unicode TS 39, with case and separators dropped on top).
#[must_use]
pub fn skeleton(name: &str) -> String {
    let lower = name.to_lowercase();
    let bare: String = unicode_security::skeleton(&lower)
        .filter(|c| c.is_alphanumeric())
        .collect();
    unicode_security::skeleton(&bare.to_lowercase()).collect()
}

/// Whether `c` has a shape of its own on the screen: a letter, digit, mark of punctuation or symbol.
#[must_use]
pub fn is_visible(c: char) -> bool {
    use GeneralCategoryGroup::{Letter, Number, Punctuation, Symbol};
    let visible = matches!(c.general_category_group(), Letter | Number | Punctuation | Symbol);
    // Letters without a shape: Hangul fillers and the like.
    visible && !matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arms::Pattern;

    #[test]
    fn ciede2000_agrees_with_the_published_pairs() {
        // All 34 of Sharma, Wu and Dalal, table 1.
        let grey = (50.0, 2.5, 0.0);
        let pairs = [
            ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
            ((50.0, 3.1571, -77.2803), (50.0, 0.0, -82.7485), 2.8615),
            ((50.0, 2.8361, -74.02), (50.0, 0.0, -82.7485), 3.4412),
            ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0),
            ((50.0, -1.1848, -84.8006), (50.0, 0.0, -82.7485), 1.0),
            ((50.0, -0.9009, -85.5211), (50.0, 0.0, -82.7485), 1.0),
            ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
            ((50.0, -1.0, 2.0), (50.0, 0.0, 0.0), 2.3669),
            ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
            ((50.0, 2.49, -0.001), (50.0, -2.49, 0.001), 7.1792),
            ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
            ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0012), 7.2195),
            ((50.0, -0.001, 2.49), (50.0, 0.0009, -2.49), 4.8045),
            ((50.0, -0.001, 2.49), (50.0, 0.001, -2.49), 4.8045),
            ((50.0, -0.001, 2.49), (50.0, 0.0011, -2.49), 4.7461),
            (grey, (50.0, 0.0, -2.5), 4.3065),
            (grey, (73.0, 25.0, -18.0), 27.1492),
            (grey, (61.0, -5.0, 29.0), 22.8977),
            (grey, (56.0, -27.0, -3.0), 31.903),
            (grey, (58.0, 24.0, 15.0), 19.4535),
            (grey, (50.0, 3.1736, 0.5854), 1.0),
            (grey, (50.0, 3.2972, 0.0), 1.0),
            (grey, (50.0, 1.8634, 0.5757), 1.0),
            (grey, (50.0, 3.2592, 0.335), 1.0),
            ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
            ((63.0109, -31.0961, -5.8663), (62.8187, -29.7946, -4.0864), 1.263),
            ((61.2901, 3.7196, -5.3901), (61.4292, 2.248, -4.962), 1.8731),
            ((35.0831, -44.1164, 3.7933), (35.0232, -40.0716, 1.5901), 1.8645),
            ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
            ((36.4612, 47.858, 18.3852), (36.2715, 50.5065, 21.2231), 1.4146),
            ((90.8027, -2.0831, 1.441), (91.1528, -1.6435, 0.0447), 1.4441),
            ((90.9257, -0.5406, -0.9208), (88.6381, -0.8985, -0.7239), 1.5381),
            ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
            ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
        ];
        let lab = |(l, a, b)| Lab { l, a, b };
        for (one, two, expected) in pairs {
            for distance in [ciede2000(lab(one), lab(two)), ciede2000(lab(two), lab(one))] {
                assert!(
                    (distance - expected).abs() < 1e-4,
                    "{one:?} {two:?}: {distance}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn colors_lie_where_colorimetry_has_them() {
        // sRGB under D65, as Lindbloom's calculator has it.
        for (color, expected) in [
            ((255, 255, 255), [100.0, 0.0, 0.0]),
            ((255, 0, 0), [53.2408, 80.0925, 67.2032]),
            ((0, 255, 0), [87.7347, -86.1827, 83.1793]),
            ((0, 0, 255), [32.297, 79.1875, -107.8602]),
            ((128, 64, 32), [34.7248, 25.0, 31.3721]),
            // Dark ones lie on the straight parts of both curves.
            ((10, 0, 0), [0.5831, 2.615, 0.9214]),
            ((0, 10, 5), [2.0597, -3.3103, 0.9709]),
            ((0, 0, 11), [0.2182, 1.5332, -4.1727]),
        ] {
            let (r, g, b) = color;
            let Lab { l, a, b } = Lab::from(Rgb::new(r, g, b));
            let off = [l, a, b]
                .into_iter()
                .zip(expected)
                .map(|(is, should)| (is - should).abs());
            assert!(off.fold(0.0, f64::max) < 1e-3, "{color:?}: {l} {a} {b}");
        }
    }

    #[test]
    fn equal_colors_and_the_most_different_ones() {
        let (black, white) = (Rgb::new(0, 0, 0), Rgb::new(255, 255, 255));
        assert!((color_distance(black, white) - 100.0).abs() < 0.01);
        assert!(color_distance(white, white).abs() < 1e-9);
    }

    #[test]
    fn colors_must_do_it_alone_where_pattern_and_glyph_are_the_same() {
        let arms = |pattern, glyph| Arms {
            color: Rgb::new(1, 2, 3),
            pattern,
            glyph,
        };
        let one = arms(Pattern::Dots, 'A');
        for (other, distance) in [
            (arms(Pattern::Dots, 'A'), 30.0),
            (arms(Pattern::Dots, 'B'), 12.0),
            (arms(Pattern::Cross, 'A'), 12.0),
            (arms(Pattern::Cross, 'B'), 12.0),
        ] {
            assert!(
                (required_distance(&one, &other) - distance).abs() < 1e-9,
                "{other:?}"
            );
        }
    }

    #[test]
    fn names_that_look_alike_have_one_skeleton() {
        for (a, b) in [
            ("work", "wоrk"),
            ("Work", "work"),
            ("bill", "bi11"),
            ("my work", "My-Work"),
            ("corn", "com"),
        ] {
            assert_eq!(skeleton(a), skeleton(b), "{a} {b}");
        }
        assert_ne!(skeleton("work"), skeleton("personal"));
    }

    #[test]
    fn invisible_characters() {
        for c in [
            ' ', '\u{200b}', '\u{301}', '\u{202e}', '\n', '\u{3164}', '\u{e000}', '\u{ad}',
        ] {
            assert!(!is_visible(c), "{c:?}");
        }
        for c in ['W', '!', 'é', '中', '♞', '7'] {
            assert!(is_visible(c), "{c:?}");
        }
    }
}
