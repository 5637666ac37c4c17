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

fn rectangle(x: i32, y: i32, w: i32, h: i32) -> Rectangle<i32, Logical> {
    Rectangle::new((x, y).into(), (w, h).into())
}

/// A layout with windows 1 to `count`, 400 by 300, the last one on top.
fn with_windows(count: u64) -> Layout {
    let mut layout = layout();
    for id in 1..=count {
        layout.add(WindowId(id), (400, 300).into(), (0, 0).into());
    }
    layout
}

fn top_to_bottom(layout: &Layout) -> Vec<u64> {
    layout.top_to_bottom().map(|id| id.0).collect()
}

#[test]
fn a_frame_is_around_its_content() {
    assert_eq!(
        FRAME.outer(rectangle(100, 200, 50, 60)),
        rectangle(96, 174, 58, 90)
    );
    assert_eq!(FRAME.inner(area(1280, 800)), rectangle(4, 26, 1272, 770));
    assert_eq!(FRAME.inner(rectangle(10, 20, 5, 5)), rectangle(14, 46, 48, 24));
    assert_eq!(WindowId(17).to_string(), "17");
}

#[test]
fn windows_are_put_beside_each_other_and_then_over_each_other() {
    let layout = with_windows(3);
    let places = [1, 2, 3].map(|id| layout.outer(WindowId(id)).unwrap().loc);
    // In a row, 16 apart; then, because 16 are missing on the right, below.
    assert_eq!(places, [(16, 16).into(), (440, 16).into(), (16, 362).into()]);
    // Large ones cover as little of others as can be, and where that is all alike their labels can be read.
    let mut layout = self::layout();
    for id in 1..=5 {
        layout.add(WindowId(id), (1000, 700).into(), (0, 0).into());
    }
    let places = [1, 2, 3, 4, 5].map(|id| {
        let loc = layout.outer(WindowId(id)).unwrap().loc;
        (loc.x, loc.y)
    });
    assert_eq!(places, [(16, 16), (256, 54), (16, 54), (256, 16), (144, 70)]);
    // What is not seen is not spared, and a window is added once.
    let mut layout = with_windows(2);
    layout.set_minimized(WindowId(1), true);
    layout.set_hidden(WindowId(2), true);
    layout.add(WindowId(3), (400, 300).into(), (0, 0).into());
    layout.add(WindowId(3), (9, 9).into(), (0, 0).into());
    assert_eq!(layout.content(WindowId(3)), Some(rectangle(20, 42, 400, 300)));
}

#[test]
fn where_neither_side_has_room_both_are_covered_alike() {
    for (size, moved, place) in [
        // Two tall ones with less than a window between them, and two wide ones.
        ((400, 700), (804, 42), (376, 54)),
        ((1000, 300), (20, 446), (256, 74)),
    ] {
        let mut layout = layout();
        layout.add(WindowId(1), size.into(), (0, 0).into());
        layout.add(WindowId(2), size.into(), (0, 0).into());
        layout.move_to(WindowId(2), moved.into());
        layout.add(WindowId(3), size.into(), (0, 0).into());
        let loc = layout.outer(WindowId(3)).unwrap().loc;
        assert_eq!((loc.x, loc.y), place, "{size:?}");
    }
}

#[test]
fn a_window_that_has_no_room_is_asked_to_be_smaller() {
    for (size, asked) in [
        ((1272, 770), None),
        ((1273, 770), Some((1272, 770))),
        ((1272, 771), Some((1272, 770))),
        ((2000, 300), Some((1272, 300))),
    ] {
        let mut layout = layout();
        layout.add(WindowId(1), size.into(), (0, 0).into());
        assert_eq!(layout.wanted_size(WindowId(1)), asked.map(Size::from), "{size:?}");
    }
    // Nobody gets more than twice the screen.
    let mut layout = layout();
    layout.add(WindowId(1), (9999, 9999).into(), (0, 0).into());
    assert_eq!(layout.content(WindowId(1)).unwrap().size, (2560, 1600).into());
    layout.committed(WindowId(1), (0, 0).into());
    assert_eq!(layout.content(WindowId(1)).unwrap().size, (48, 24).into());
    layout.set_areas(vec![area(1280, 800), rectangle(1280, 0, 600, 1000)], FRAME, THIN);
    assert_eq!(layout.room(), (592, 770).into());
    layout.committed(WindowId(1), (9999, 9999).into());
    assert_eq!(layout.content(WindowId(1)).unwrap().size, (2560, 2000).into());
    layout.set_areas(vec![area(300, 200)], FRAME, THIN);
    assert_eq!(layout.content(WindowId(1)).unwrap().size, (600, 400).into());
}

#[test]
fn windows_above_and_below() {
    let mut layout = with_windows(4);
    let set = |ids: &[u64]| ids.iter().map(|id| WindowId(*id)).collect::<BTreeSet<_>>();
    assert_eq!(top_to_bottom(&layout), [4, 3, 2, 1]);
    layout.put_below(WindowId(4), &set(&[2, 3]));
    assert_eq!(top_to_bottom(&layout), [3, 2, 4, 1], "right below the lowest");
    layout.put_below(WindowId(1), &set(&[2]));
    layout.put_below(WindowId(9), &set(&[2]));
    layout.put_below(WindowId(3), &set(&[9]));
    assert_eq!(
        top_to_bottom(&layout),
        [3, 2, 4, 1],
        "it is, or there is nothing to do"
    );
    layout.raise(WindowId(1));
    layout.raise(WindowId(9));
    assert_eq!(top_to_bottom(&layout), [1, 3, 2, 4]);
    layout.set_minimized(WindowId(3), true);
    layout.set_hidden(WindowId(2), true);
    assert_eq!(top_to_bottom(&layout), [1, 2, 4, 3]);
    let visible = |layout: &Layout| layout.visible().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!(visible(&layout), [1, 4]);
    let hidden = |layout: &Layout| [1, 2, 3, 9].map(|id| layout.is_hidden(WindowId(id)));
    assert_eq!(hidden(&layout), [false, true, false, false]);
    layout.raise(WindowId(3));
    layout.raise(WindowId(2));
    assert_eq!(
        visible(&layout),
        [3, 1, 4],
        "to raise shows what is minimised, not what is hidden"
    );
    layout.set_hidden(WindowId(2), false);
    layout.set_minimized(WindowId(4), true);
    layout.set_minimized(WindowId(4), false);
    assert_eq!(visible(&layout), [2, 3, 1, 4]);
    layout.remove(WindowId(3));
    assert_eq!(visible(&layout), [2, 1, 4]);
    assert!(!layout.is_visible(WindowId(3)) && layout.mode(WindowId(3)).is_none());
}

#[test]
fn a_window_can_always_be_fetched_back() {
    for (size, to, kept) in [
        // 64 pixels of the frame's width stay, and the label's upper edge.
        ((400, 300), (-9999, -9999), (-340, 26)),
        ((400, 300), (9999, 9999), (1220, 800)),
        ((400, 300), (300, 200), (300, 200)),
        ((400, 300), (i32::MIN, i32::MAX), (-340, 800)),
        // One that is narrower stays whole.
        ((1, 1), (-9999, -9999), (4, 26)),
        ((1, 1), (9999, 9999), (1228, 800)),
    ] {
        let mut layout = layout();
        layout.add(WindowId(1), size.into(), (0, 0).into());
        layout.move_to(WindowId(1), to.into());
        let loc = layout.content(WindowId(1)).unwrap().loc;
        assert_eq!((loc.x, loc.y), kept, "{size:?} {to:?}");
    }
}

#[test]
fn a_resize_keeps_to_the_limits() {
    for (min, max, wanted, asked) in [
        ((0, 0), (0, 0), (10, 10), (48, 24)),
        ((0, 0), (0, 0), (333, 222), (333, 222)),
        ((0, 0), (0, 0), (9999, 9999), (2560, 1600)),
        ((100, 50), (500, 400), (10, 10), (100, 50)),
        ((100, 50), (500, 400), (9999, 9999), (500, 400)),
        ((1, 1), (20, 10), (300, 300), (20, 10)),
        ((0, 0), (5000, 5000), (9999, 9999), (2560, 1600)),
        ((600, 600), (500, 400), (10, 10), (500, 400)),
    ] {
        let mut layout = with_windows(1);
        layout.set_limits(WindowId(1), min.into(), max.into());
        layout.resize(WindowId(1), Edges::RIGHT, wanted.into());
        assert_eq!(
            layout.wanted_size(WindowId(1)),
            Some(asked.into()),
            "{min:?} {max:?} {wanted:?}"
        );
    }
}

#[test]
fn the_opposite_edges_stay_where_they_are() {
    let (id, all) = (WindowId(1), Edges::LEFT | Edges::TOP);
    let at = |edges: Edges, sizes: &[(i32, i32)]| {
        let mut layout = with_windows(1);
        layout.move_to(id, (200, 200).into());
        for size in sizes {
            layout.resize(id, edges, (777, 555).into());
            layout.committed(id, (*size).into());
        }
        let loc = layout.content(id).unwrap().loc;
        (loc.x, loc.y)
    };
    // Its lower right corner is at 600, 500.
    assert_eq!(at(all, &[(490, 340)]), (110, 160));
    assert_eq!(at(all, &[(490, 340), (300, 200)]), (300, 300));
    assert_eq!(at(all, &[(10, 10)]), (552, 476), "what is shown counts");
    assert_eq!(at(Edges::LEFT | Edges::BOTTOM, &[(490, 340)]), (110, 200));
    assert_eq!(at(Edges::RIGHT | Edges::TOP, &[(490, 340)]), (200, 160));
    assert_eq!(at(Edges::RIGHT | Edges::BOTTOM, &[(490, 340)]), (200, 200));
    // Other edges have another corner; and who moves a window or changes its mode drags no edge any more.
    type Script = fn(&mut Layout, WindowId);
    let scripts: [(Script, (i32, i32)); 3] = [
        (
            |layout, id| layout.resize(id, Edges::TOP, (400, 300).into()),
            (100, 300),
        ),
        (|layout, id| layout.move_to(id, (150, 160).into()), (150, 160)),
        (|layout, id| layout.set_mode(id, Mode::Floating), (100, 200)),
    ];
    for (script, loc) in scripts {
        let mut layout = with_windows(1);
        layout.move_to(id, (200, 200).into());
        layout.resize(id, Edges::LEFT, (500, 300).into());
        layout.committed(id, (500, 300).into());
        script(&mut layout, id);
        layout.committed(id, (300, 200).into());
        assert_eq!(layout.content(id).unwrap().loc, loc.into());
    }
}

#[test]
fn a_window_that_fills_the_screen_does_not_float() {
    let id = WindowId(1);
    for (mode, insets, size) in [
        (Mode::Maximized, FRAME, (1272, 770)),
        (Mode::Fullscreen, THIN, (1274, 779)),
    ] {
        let mut layout = with_windows(1);
        let before = layout.content(id);
        layout.set_mode(id, Mode::Floating);
        assert_eq!((layout.insets(id), layout.wanted_size(id)), (Some(FRAME), None));
        layout.set_mode(id, mode);
        assert_eq!(layout.wanted_size(id), Some(size.into()));
        assert_eq!((layout.mode(id), layout.insets(id)), (Some(mode), Some(insets)));
        assert_eq!(layout.outer(id), Some(area(1280, 800)));
        layout.move_to(id, (500, 500).into());
        layout.resize(id, Edges::RIGHT, (500, 500).into());
        layout.committed(id, (600, 600).into());
        assert_eq!(layout.set_areas(vec![area(1280, 800)], FRAME, THIN), [id]);
        layout.set_mode(id, Mode::Floating);
        assert_eq!(layout.content(id), before);
        assert_eq!(
            layout.wanted_size(id),
            Some((400, 300).into()),
            "it has forgotten its size"
        );
        assert_eq!(layout.set_areas(vec![area(1280, 800)], FRAME, THIN), []);
    }
}

#[test]
fn clients_are_told_of_what_changes() {
    type Script = fn(&mut Layout, WindowId);
    let scripts: [(&str, Script, bool); 12] = [
        ("touch", Layout::touch, true),
        ("move", |layout, id| layout.move_to(id, (300, 300).into()), true),
        (
            "resize",
            |layout, id| layout.resize(id, Edges::TOP, (90, 90).into()),
            true,
        ),
        ("start", Layout::start_resize, true),
        ("commit", |layout, id| layout.committed(id, (90, 90).into()), true),
        (
            "same",
            |layout, id| layout.committed(id, (400, 300).into()),
            false,
        ),
        ("mode", |layout, id| layout.set_mode(id, Mode::Maximized), true),
        (
            "areas",
            |layout, _| drop(layout.set_areas(vec![area(90, 90)], FRAME, THIN)),
            true,
        ),
        ("raise", Layout::raise, false),
        ("hide", |layout, id| layout.set_hidden(id, true), false),
        ("minimise", |layout, id| layout.set_minimized(id, true), false),
        (
            "add",
            |layout, _| layout.add(WindowId(7), (9, 9).into(), (0, 0).into()),
            true,
        ),
    ];
    for (what, script, changes) in scripts {
        let mut layout = with_windows(1);
        assert_eq!(layout.take_changed(), [WindowId(1)].into());
        assert!(layout.take_changed().is_empty(), "once");
        script(&mut layout, WindowId(1));
        assert_eq!(!layout.take_changed().is_empty(), changes, "{what}");
    }
    let mut layout = with_windows(1);
    layout.start_resize(WindowId(1));
    assert_eq!(layout.wanted_size(WindowId(1)), Some((400, 300).into()));
}

#[test]
fn a_rectangle_is_on_the_screen_that_has_most_of_it_or_is_nearest() {
    let areas = [area(100, 100), rectangle(100, 0, 200, 100)];
    for (rect, index) in [
        (rectangle(80, 0, 30, 10), 0),
        (rectangle(90, 0, 30, 10), 1),
        (rectangle(90, 0, 20, 10), 0),
        // More of it, and not more of its width.
        (rectangle(80, 90, 40, 90), 0),
        (rectangle(0, 500, 10, 10), 0),
        (rectangle(350, 50, 10, 10), 1),
        (rectangle(-50, -50, 10, 10), 0),
        (rectangle(110, -50, 10, 10), 1),
        (rectangle(110, 150, 10, 10), 1),
        (rectangle(i32::MAX, i32::MAX, i32::MAX, i32::MAX), 1),
    ] {
        assert_eq!(most_covered(&areas, rect), index, "{rect:?}");
    }
    assert_eq!(most_covered(&[], area(1, 1)), 0);
    let layout = Layout::new(areas.to_vec(), FRAME, THIN);
    assert_eq!(layout.area_of(rectangle(350, 50, 1, 1)), areas[1]);
    assert_eq!(layout.areas(), areas);
}
