// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;

use super::*;

const FRAME: Insets = Insets {
    top: 26,
    right: 4,
    bottom: 4,
    left: 4,
};
const THIN: Insets = Insets {
    top: 18,
    right: 3,
    bottom: 3,
    left: 3,
};

fn area(w: i32, h: i32) -> Rectangle<i32, Logical> {
    Rectangle::from_size((w, h).into())
}

fn layout() -> Layout {
    Layout::new(vec![area(1280, 800)], FRAME, THIN)
}

#[derive(Debug, Clone)]
enum Op {
    Add(u8, i32, i32, i32),
    Remove(u8),
    Raise(u8),
    Below(u8, u8),
    Minimize(u8, bool),
    Mode(u8, u8),
    Limits(u8, i32, i32, i32, i32),
    Move(u8, i32, i32),
    Resize(u8, u8, i32, i32),
    Commit(u8, i32, i32),
    Areas(i32, i32, Option<(i32, i32, i32)>),
}

fn any_op() -> impl Strategy<Value = Op> {
    let id = 0..6u8;
    let n = prop_oneof![-5000..5000, Just(i32::MIN), Just(i32::MAX), 0..900];
    prop_oneof![
        (id.clone(), n.clone(), n.clone(), n.clone()).prop_map(|(i, w, h, x)| Op::Add(i, w, h, x)),
        id.clone().prop_map(Op::Remove),
        id.clone().prop_map(Op::Raise),
        (id.clone(), 0..64u8).prop_map(|(i, others)| Op::Below(i, others)),
        (id.clone(), any::<bool>()).prop_map(|(i, b)| Op::Minimize(i, b)),
        (id.clone(), 0..3u8).prop_map(|(i, m)| Op::Mode(i, m)),
        (id.clone(), n.clone(), n.clone(), n.clone(), n.clone())
            .prop_map(|(i, a, b, c, d)| Op::Limits(i, a, b, c, d)),
        (id.clone(), n.clone(), n.clone()).prop_map(|(i, x, y)| Op::Move(i, x, y)),
        (id.clone(), 0..16u8, n.clone(), n.clone()).prop_map(|(i, e, w, h)| Op::Resize(i, e, w, h)),
        (id, n.clone(), n).prop_map(|(i, w, h)| Op::Commit(i, w, h)),
        (
            200..4000,
            150..3000,
            proptest::option::of((-900..900, 150..3000, 150..3000))
        )
            .prop_map(|(w, h, second)| Op::Areas(w, h, second)),
    ]
}

fn apply(layout: &mut Layout, op: &Op) {
    let id = |i: u8| WindowId(u64::from(i));
    match *op {
        Op::Add(i, w, h, x) => layout.add(id(i), (w.max(0), h.max(0)).into(), (x, 0).into()),
        Op::Remove(i) => layout.remove(id(i)),
        Op::Raise(i) => layout.raise(id(i)),
        Op::Below(i, others) => {
            let others: BTreeSet<_> = (0..6)
                .filter(|other| *other != i && others >> other & 1 == 1)
                .map(id)
                .collect();
            layout.put_below(id(i), &others);
            let above = layout.top_to_bottom().take_while(|other| *other != id(i));
            let known = others.iter().filter(|other| layout.mode(**other).is_some());
            if layout.mode(id(i)).is_some() {
                assert_eq!(
                    above.filter(|other| others.contains(other)).count(),
                    known.count()
                );
            }
        }
        Op::Minimize(i, m) => layout.set_minimized(id(i), m),
        Op::Mode(i, m) => {
            layout.set_mode(
                id(i),
                [Mode::Floating, Mode::Maximized, Mode::Fullscreen][usize::from(m)],
            );
        }
        Op::Limits(i, a, b, c, d) => {
            layout.set_limits(id(i), (a.max(0), b.max(0)).into(), (c.max(0), d.max(0)).into())
        }
        Op::Move(i, x, y) => layout.move_to(id(i), (x, y).into()),
        Op::Resize(i, e, w, h) => {
            layout.resize(id(i), Edges::from_bits_truncate(e), (w.max(0), h.max(0)).into())
        }
        Op::Commit(i, w, h) => layout.committed(id(i), (w.max(0), h.max(0)).into()),
        Op::Areas(w, h, second) => {
            let mut areas = vec![area(w, h)];
            areas.extend(second.map(|(y, w2, h2)| Rectangle::new((w, y).into(), (w2, h2).into())));
            drop(layout.set_areas(areas, FRAME, THIN));
        }
    }
}

/// What must hold after every operation.
fn verify_invariants(layout: &Layout) {
    let mut stack: Vec<_> = layout.top_to_bottom().collect();
    stack.sort_unstable();
    assert_eq!(
        stack,
        layout.windows.keys().copied().collect::<Vec<_>>(),
        "stack and table agree, no duplicates"
    );
    let limit = layout.size_limit();
    for id in layout.top_to_bottom() {
        let content = layout.content(id).unwrap();
        let outer = layout.outer(id).unwrap();
        let area = layout.area_of(outer);
        assert!(
            content.size.w >= MIN_PLATE.0 && content.size.h >= MIN_PLATE.1,
            "{id}: room for a label"
        );
        assert!(
            outer.contains_rect(content),
            "{id}: the frame surrounds the content"
        );
        let label = Rectangle::new(outer.loc, (outer.size.w, FRAME.top.min(outer.size.h)).into());
        let reachable = |area: &Rectangle<i32, Logical>| {
            // The last row of the area may hold only the label's top edge.
            let low = outer.loc.y >= area.loc.y + area.size.h - FRAME.top;
            outer.loc.y >= area.loc.y && (low || label.overlaps(*area))
        };
        assert!(
            layout.areas().iter().any(reachable),
            "{id}: {label:?} is not above a screen and can be fetched back"
        );
        if layout.mode(id) != Some(Mode::Floating) && area.size.w > 200 && area.size.h > 150 {
            assert_eq!(outer, area, "{id}: fills the area exactly");
        }
        assert!(
            content.size.w <= limit.w && content.size.h <= limit.h,
            "{id}: bounded"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_keeps_the_invariants(ops in proptest::collection::vec(any_op(), 1..60)) {
        let mut layout = layout();
        for op in &ops {
            apply(&mut layout, op);
            verify_invariants(&layout);
        }
    }
}

#[test]
fn three_windows_do_not_overlap_when_there_is_room() {
    let mut layout = layout();
    for id in 1..=3 {
        layout.add(WindowId(id), (500, 300).into(), (0, 0).into());
    }
    let rects: Vec<_> = (1..=3).map(|id| layout.outer(WindowId(id)).unwrap()).collect();
    for (i, a) in rects.iter().enumerate() {
        for b in &rects[i + 1..] {
            assert!(!a.overlaps(*b), "{a:?} {b:?}");
        }
    }
}

#[test]
fn dragging_the_left_edge_keeps_the_right_edge() {
    let mut layout = layout();
    let id = WindowId(1);
    layout.add(id, (400, 300).into(), (0, 0).into());
    layout.move_to(id, (200, 200).into());
    let right = layout.content(id).unwrap().loc.x + 400;
    layout.resize(id, Edges::LEFT, (500, 300).into());
    assert_eq!(layout.wanted_size(id), Some((500, 300).into()));
    assert_eq!(
        layout.content(id).unwrap().size.w,
        400,
        "unchanged until the client answers"
    );
    layout.committed(id, (490, 300).into());
    let content = layout.content(id).unwrap();
    assert_eq!(content.loc.x + content.size.w, right);
}

#[test]
fn leaving_fullscreen_restores_place_and_size() {
    let mut layout = layout();
    let id = WindowId(1);
    layout.add(id, (400, 300).into(), (0, 0).into());
    layout.move_to(id, (300, 222).into());
    let before = layout.content(id);
    layout.set_mode(id, Mode::Fullscreen);
    assert_eq!(layout.outer(id), Some(area(1280, 800)), "the thin frame stays");
    layout.committed(id, (1274, 779).into());
    layout.set_mode(id, Mode::Floating);
    assert_eq!(layout.content(id), before);
}

#[test]
fn a_window_fills_the_screen_that_it_is_on_and_comes_back_when_that_goes() {
    let mut layout = layout();
    let right = Rectangle::new((1280, 0).into(), (1920, 1080).into());
    layout.set_areas(vec![area(1280, 800), right], FRAME, THIN);
    let (near, far) = (WindowId(1), WindowId(2));
    layout.add(near, (400, 300).into(), (10, 10).into());
    layout.add(far, (400, 300).into(), (2000, 10).into());
    assert!(area(1280, 800).contains_rect(layout.outer(near).unwrap()));
    assert!(right.contains_rect(layout.outer(far).unwrap()));
    layout.set_mode(far, Mode::Maximized);
    assert_eq!(layout.outer(far), Some(right));
    layout.set_areas(vec![area(1280, 800)], FRAME, THIN);
    assert_eq!(layout.outer(far), Some(area(1280, 800)));
    layout.set_mode(far, Mode::Floating);
    let label = layout.outer(far).unwrap();
    assert!(label.overlaps(area(1280, 800)) && label.loc.y >= 0, "{label:?}");
}
