// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any history of commands, messages and closes: the books balance after each step.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Context,
    UnknownContext,
    Alloc,
    Pipe(PipeEnd),
    Send { to: usize, with: Vec<usize>, len: usize },
    HostSends { to: usize, len: usize, memories: usize },
    HostSendsJunk { to: usize },
    HostEnds { to: usize },
    Recv { from: usize, room: usize },
    CloseGuest { which: usize },
    CloseGiven { which: usize },
    Window(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let end = prop_oneof![Just(PipeEnd::Read), Just(PipeEnd::Write)];
    prop_oneof![
        3 => Just(Op::Context),
        1 => Just(Op::UnknownContext),
        2 => Just(Op::Alloc),
        1 => end.prop_map(Op::Pipe),
        4 => (any::<usize>(), prop::collection::vec(any::<usize>(), 0..4), 0..150usize)
            .prop_map(|(to, with, len)| Op::Send { to, with, len }),
        6 => (any::<usize>(), 0..9usize, 0..5usize)
            .prop_map(|(to, len, memories)| Op::HostSends { to, len, memories }),
        1 => any::<usize>().prop_map(|to| Op::HostSendsJunk { to }),
        1 => any::<usize>().prop_map(|to| Op::HostEnds { to }),
        5 => (any::<usize>(), 1..9usize).prop_map(|(from, room)| Op::Recv { from, room }),
        2 => any::<usize>().prop_map(|which| Op::CloseGuest { which }),
        2 => any::<usize>().prop_map(|which| Op::CloseGiven { which }),
        2 => (0..200usize).prop_map(Op::Window),
    ]
}

fn apply(rig: &mut Rig, op: Op) {
    let pick = |from: &[VfdId], index: usize| from.get(index % from.len().max(1)).copied().unwrap_or(77);
    match op {
        Op::Context => drop(rig.new_vfd(|id| Command::NewContext { id, name: Vec::new() })),
        Op::UnknownContext => drop(rig.new_vfd(|id| Command::NewContext {
            id,
            name: b"none".to_vec(),
        })),
        Op::Alloc => drop(rig.new_vfd(|id| Command::NewAlloc { id, size: 5000 })),
        Op::Pipe(end) => drop(rig.new_vfd(|id| Command::NewPipe { id, end })),
        Op::Send { to, with, len } => {
            let all: Vec<_> = rig.open.iter().chain(&rig.given).copied().collect();
            let with: Vec<_> = with.into_iter().map(|index| pick(&all, index)).collect();
            rig.send(pick(&all, to), &with, &vec![1; len]);
        }
        Op::HostSends { to, len, memories } if rig.reading => {
            rig.host_sends(pick(&rig.open, to), len, memories);
        }
        Op::HostSends { .. } => {}
        Op::HostSendsJunk { to } => {
            let id = pick(&rig.open, to);
            rig.machine.received(id, vec![1], vec![Import::Refused]);
        }
        Op::HostEnds { to } => rig.machine.ended(pick(&rig.open, to)),
        Op::Recv { from, room } => drop(rig.recv(pick(&rig.open, from), room)),
        Op::CloseGuest { which } if !rig.open.is_empty() => rig.close(pick(&rig.open, which)),
        Op::CloseGiven { which } if !rig.given.is_empty() => rig.close(pick(&rig.given, which)),
        Op::CloseGuest { .. } | Op::CloseGiven { .. } => {}
        Op::Window(bytes) => {
            rig.window = bytes;
            for id in rig.open.clone() {
                rig.machine.writable(id);
            }
        }
    }
    rig.pump();
}

proptest! {
    #[test]
    fn the_books_balance_after_any_history(ops in prop::collection::vec(op(), 0..120)) {
        let mut rig = Rig::new(SMALL);
        for op in ops {
            apply(&mut rig, op);
            rig.verify(&SMALL);
        }
        rig.window = usize::MAX;
        for id in rig.open.clone().into_iter().chain(rig.given.clone()) {
            rig.close(id);
        }
        rig.verify(&SMALL);
        prop_assert_eq!(rig.live.get(), 0, "handles are lost");
        prop_assert_eq!(rig.machine.count(), (0, 0));
        prop_assert_eq!(rig.machine.free_buffers(), SMALL.in_buffers);
        prop_assert_eq!(rig.answers.len() as u64, rig.ticket, "a command was never answered");
    }
}
