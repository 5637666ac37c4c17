// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whatever comes: no panic, no leak, and the same result however the bytes are cut.

use proptest::prelude::*;
use rustix::pipe::{PipeFlags, pipe_with};

use super::*;

/// Counts descriptors: a pipe whose reader sees the end when every copy of its writer is closed.
struct Counted {
    readers: Vec<OwnedFd>,
}

impl Counted {
    fn new() -> Self {
        Self { readers: Vec::new() }
    }

    fn make(&mut self) -> OwnedFd {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        self.readers.push(reader);
        writer
    }

    /// How many of the descriptors are still open somewhere.
    fn open(&self) -> usize {
        let ended = |reader: &OwnedFd| rustix::io::read(reader, &mut [0_u8; 1]) == Ok(0);
        self.readers.iter().filter(|reader| !ended(reader)).count()
    }
}

/// An honest session as bytes, with how many descriptors go with each message.
fn honest() -> Vec<(Vec<u8>, usize)> {
    let mut recorder = Client::new();
    let mut all = Vec::new();
    let mut say = |client: &mut Client, id: u32, name: &str, args: &[A]| {
        let made = client.ok(id, name, args);
        let (bytes, _) = drain(&mut client.out);
        all.push((
            bytes,
            args.iter().filter(|arg| matches!(arg, Memory(_) | Pipe)).count(),
        ));
        made
    };
    let mut bind = |client: &mut Client, name: &str, version: u32| {
        say(
            client,
            2,
            "bind",
            &[U(global_name(name)), S(name), U(version), New],
        )
    };
    let compositor = bind(&mut recorder, "wl_compositor", 6);
    let shm = bind(&mut recorder, "wl_shm", 1);
    let wm = bind(&mut recorder, "xdg_wm_base", 6);
    let sub = bind(&mut recorder, "wl_subcompositor", 1);
    let c = &mut recorder;
    let surface = say(c, compositor, "create_surface", &[New]);
    let child = say(c, compositor, "create_surface", &[New]);
    let xdg = say(c, wm, "get_xdg_surface", &[New, U(surface)]);
    let toplevel = say(c, xdg, "get_toplevel", &[New]);
    say(c, toplevel, "set_title", &[S("a title of some length")]);
    let subsurface = say(c, sub, "get_subsurface", &[New, U(child), U(surface)]);
    say(c, subsurface, "set_position", &[I(5), I(-5)]);
    for _ in 0..5 {
        let pool = say(c, shm, "create_pool", &[New, Memory(4096), I(4096)]);
        let buffer = say(c, pool, "create_buffer", &[New, I(0), I(32), I(32), I(128), U(1)]);
        say(c, pool, "resize", &[I(4096)]);
        say(c, surface, "frame", &[New]);
        say(c, surface, "attach", &[U(buffer), I(0), I(0)]);
        for index in 0..70 {
            say(c, surface, "damage", &[I(index), I(0), I(4), I(4)]);
        }
        say(c, surface, "commit", &[]);
        say(c, pool, "destroy", &[]);
    }
    say(c, subsurface, "destroy", &[]);
    say(c, 1, "sync", &[New]);
    all
}

/// Feeds `bytes` in pieces of `cuts` bytes each (again and again), and returns what came out: bytes, descriptors, end.
fn run(bytes: &[u8], fds: usize, cuts: &[usize]) -> (Vec<u8>, usize, Option<Violation>) {
    let mut client = Client::new();
    let mut all_fds: VecDeque<_> = (0..fds).map(|_| memory(4096)).collect();
    let mut rest = bytes;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let len = (*cuts.next().unwrap()).clamp(1, rest.len());
        let (now, later) = rest.split_at(len);
        if let Err(violation) = client.raw(now, &mut all_fds) {
            let (out, fds) = drain(&mut client.out);
            return (out, fds, Some(violation));
        }
        rest = later;
    }
    let (out, fds) = drain(&mut client.out);
    (out, fds, None)
}

#[test]
fn every_cut_of_an_honest_session() {
    let messages = honest();
    let bytes: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    let fds = messages.iter().map(|(_, fds)| fds).sum();
    let whole = run(&bytes, fds, &[usize::MAX]);
    assert_eq!(whole.2, None);
    assert_eq!(whole.1, fds);
    for cut in 1..40 {
        assert_eq!(run(&bytes, fds, &[cut]), whole, "{cut} bytes at a time");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600), fds in 0_usize..40) {
        run(&bytes, fds, &[7, 100]);
        let mut client = Client::new();
        let mut fds: VecDeque<_> = (0..fds).map(|_| memory(16)).collect();
        let _ = client.session.from_server(&bytes, &mut fds, &mut client.back);
    }

    #[test]
    fn damaged_sessions_end_the_same_way_however_they_are_cut(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cuts in prop::collection::vec(1_usize..300, 1..8),
    ) {
        let messages = honest();
        let mut bytes: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let fds = messages.iter().map(|(_, fds)| fds).sum();
        for (index, value) in &changes {
            let at = index.index(bytes.len());
            bytes[at] = *value;
        }
        prop_assert_eq!(run(&bytes, fds, &cuts), run(&bytes, fds, &[usize::MAX]));
    }

    #[test]
    fn messages_in_any_order(order in prop::collection::vec(any::<prop::sample::Index>(), 0..80)) {
        let messages = honest();
        let mut client = Client::new();
        for index in order {
            let (bytes, fds) = &messages[index.index(messages.len())];
            let mut fds = (0..*fds).map(|_| memory(4096)).collect();
            if client.raw(bytes, &mut fds).is_err() {
                break;
            }
        }
    }

    #[test]
    fn every_descriptor_is_passed_on_or_closed(
        order in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..3), 0..60),
        damage in prop::option::of(any::<prop::sample::Index>()),
    ) {
        // Pools need memory, so transfers carry the counted pipes: receive, and stray ones anywhere.
        let mut counted = Counted::new();
        let mut client = Client::new();
        let (manager, seat) = (client.bind("wl_data_device_manager"), client.bind("wl_seat"));
        let device = client.ok(manager, "get_data_device", &[New, U(seat)]);
        client.event(device, "data_offer", &[U(0xff00_0000)]);
        client.passed();
        let mut given = 0;
        for (index, stray) in &order {
            let mut bytes = Writer::new(0xff00_0000, 1).text("text/plain").finish();
            if damage.is_some_and(|damage| damage.index(60) == index.index(60)) {
                bytes[0] ^= 1;
            }
            let mut fds: VecDeque<_> = (0..*stray).map(|_| counted.make()).collect();
            given += stray;
            if client.raw(&bytes, &mut fds).is_err() {
                break;
            }
            prop_assert!(fds.is_empty());
        }
        let held = client.session.client_fds.len();
        let passed = client.out.descriptors();
        prop_assert_eq!(counted.open(), held + passed);
        prop_assert!(held <= 28 && held + passed <= given);
        drain(&mut client.out);
        prop_assert_eq!(counted.open(), held);
        drop(client);
        prop_assert_eq!(counted.open(), 0);
    }

    #[test]
    fn random_requests_of_the_tables(seed in prop::collection::vec(any::<u32>(), 100..2000)) {
        well_formed(&seed);
    }
}

/// A choice among numbers that mostly are good and sometimes are not.
fn number(pick: u32) -> i32 {
    let good = [1, 4, 16, 32, 64, 100, 128, 256];
    let odd = [0, -1, -256, 4096, 8192, i32::MAX, i32::MIN, 1 << 24];
    let list = if pick.is_multiple_of(40) { odd } else { good };
    list[pick as usize / 40 % 8]
}

/// Sends well-formed requests to objects that exist, about objects of the right interface, and lets the compositor confirm
/// what is destroyed. Returns how many passed, and the rule that ended the client.
fn well_formed(seed: &[u32]) -> (usize, Option<Rule>) {
    let mut client = Client::new();
    for name in [
        "wl_compositor",
        "wl_shm",
        "xdg_wm_base",
        "wl_subcompositor",
        "wp_viewporter",
        "wl_seat",
        "wl_data_device_manager",
    ] {
        client.bind(name);
    }
    let mut seed = seed.iter().copied();
    let mut passed = 0;
    let mut confirmed = Vec::new();
    while let (Some(a), Some(b)) = (seed.next(), seed.next()) {
        let ids: Vec<u32> = (3..client.next)
            .filter(|id| client.session.objects.live(*id).is_some())
            .collect();
        let id = ids[a as usize % ids.len()];
        let object = client.session.objects.live(id).unwrap();
        let Some(opcode) = (b as usize).checked_rem(object.interface.requests.len()) else {
            continue;
        };
        let desc = &object.interface.requests[opcode];
        // Globals stay, and destroying is rare.
        if desc.is_destructor && (id < 10 || !b.is_multiple_of(5)) || desc.since > object.version {
            continue;
        }
        let mut interfaces = desc.arg_interfaces.iter();
        let (mut fds, mut made, mut missing) = (VecDeque::new(), false, false);
        let writer =
            desc.signature
                .iter()
                .fold(Writer::new(id, u16::try_from(opcode).unwrap()), |writer, kind| {
                    let pick = seed.next().unwrap_or(0);
                    match kind {
                        ArgumentType::NewId => {
                            made = true;
                            writer.uint(client.next)
                        }
                        ArgumentType::Object(_) => {
                            let wanted = interfaces.next().unwrap().name;
                            let of = |id: &&u32| {
                                client.session.objects.live(**id).unwrap().interface.name == wanted
                            };
                            let fit: Vec<_> = ids.iter().filter(of).collect();
                            missing |= fit.is_empty();
                            writer.uint(
                                fit.get((pick as usize).checked_rem(fit.len()).unwrap_or(0))
                                    .map_or(0, |id| **id),
                            )
                        }
                        ArgumentType::Str(_) => writer.text("text"),
                        ArgumentType::Fd => {
                            fds.push_back(memory(4096));
                            writer
                        }
                        ArgumentType::Array => writer.uint(0),
                        _ => writer.int(number(pick)),
                    }
                });
        if missing {
            continue;
        }
        match client.raw(&writer.finish(), &mut fds) {
            Ok(_) => {
                passed += 1;
                client.next += u32::from(made);
            }
            Err(violation) => return (passed, Some(violation.rule)),
        }
        if desc.is_destructor {
            confirmed.push(id);
        }
    }
    for id in confirmed {
        client.event(1, "delete_id", &[U(id)]);
    }
    (passed, None)
}

#[test]
fn random_requests_reach_the_rules() {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.rotate_left(11)
    };
    let mut rules: Vec<&str> = Vec::new();
    let mut longest = 0;
    for _ in 0..300 {
        let seed: Vec<u32> = (0..2000).map(|_| next()).collect();
        let (passed, rule) = well_formed(&seed);
        longest = passed.max(longest);
        rules.extend(rule.map(Rule::name));
    }
    rules.sort_unstable();
    rules.dedup();
    assert!(longest > 30 && rules.len() >= 8, "{longest} requests; {rules:?}");
}
