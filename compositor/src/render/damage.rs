// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lists of changed rectangles, of bounded length.

use smithay::utils::{Physical, Rectangle};

/// More rectangles than this become their bounding box: everything behind them is looked at once for each.
const MOST: usize = 16;

/// Such a list.
pub(super) type Damage = Vec<Rectangle<i32, Physical>>;

/// Adds a rectangle.
pub(super) fn push(list: &mut Damage, rect: Rectangle<i32, Physical>) {
    if rect.is_empty() || list.iter().any(|known| known.contains_rect(rect)) {
        return;
    }
    if list.len() < MOST {
        list.push(rect);
        return;
    }
    let all = list.drain(..).fold(rect, Rectangle::merge);
    list.push(all);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rectangles_become_one_around_them_all() {
        let mut list = Vec::new();
        for at in 0..1000 {
            push(&mut list, Rectangle::new((at * 3, at).into(), (2, 2).into()));
            assert!(list.len() <= MOST);
        }
        for at in 0..1000 {
            let rect = Rectangle::new((at * 3, at).into(), (2, 2).into());
            assert!(list.iter().any(|known| known.contains_rect(rect)));
        }
        push(&mut list, Rectangle::default());
        assert!(list.len() <= MOST, "nothing is no damage");
    }
}
