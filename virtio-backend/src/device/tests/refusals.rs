// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the device and its driver refuse: ids, commands, imports.

use super::*;

#[test]
fn ids_are_2047_and_come_back() {
    let mut rig = Rig::new(Limits::default());
    let ids: Vec<_> = (0..2047)
        .map(|_| rig.new_vfd(|id| Command::NewAlloc { id, size: 1 }).unwrap())
        .collect();
    assert_eq!(ids.first().zip(ids.last()), Some((&1, &2047)));
    assert_eq!(rig.driver.take_id(), None);
    assert_eq!(rig.live.get(), 2047);
    for id in ids {
        rig.close(id);
    }
    assert_eq!((rig.live.get(), rig.driver.ids_in_use()), (0, 0));
    assert_eq!(rig.driver.take_id(), Some(1));
}

#[test]
fn refusals_are_the_device_s() {
    let mut rig = Rig::new(Limits::default());
    let mut fault = |command| {
        let ticket = rig.command(command);
        match rig.answer(ticket) {
            Some(Response::Fault(fault)) => fault,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        fault(Command::NewContext {
            id: 1,
            name: b"none".to_vec()
        }),
        Fault::Err
    );
    assert_eq!(
        fault(Command::NewContext {
            id: 0,
            name: Vec::new()
        }),
        Fault::InvalidId
    );
    assert_eq!(fault(Command::NewAlloc { id: 0x800, size: 1 }), Fault::InvalidId);
    assert_eq!(
        fault(Command::NewAlloc {
            id: HOST_ID_FIRST,
            size: 1
        }),
        Fault::InvalidId
    );
    assert_eq!(fault(Command::NewAlloc { id: 1, size: 0 }), Fault::Err);
    assert_eq!(fault(Command::NewAlloc { id: 1, size: 1 << 32 }), Fault::Err);
    assert_eq!(fault(Command::NewDmabuf), Fault::InvalidCmd);
    assert_eq!(fault(Command::Close { id: 5 }), Fault::InvalidId);
    assert_eq!(fault(Command::DmabufSync { id: 5 }), Fault::InvalidId);
    assert_eq!(
        fault(Command::Send {
            id: 5,
            vfds: vec![],
            data: vec![1]
        }),
        Fault::InvalidId
    );
    let context = rig.context();
    let memory = rig.new_vfd(|id| Command::NewAlloc { id, size: 1 }).unwrap();
    let pipe = rig
        .new_vfd(|id| Command::NewPipe {
            id,
            end: PipeEnd::Write,
        })
        .unwrap();
    let read = rig
        .new_vfd(|id| Command::NewPipe {
            id,
            end: PipeEnd::Read,
        })
        .unwrap();
    let refused = |fault| Some(Response::Fault(fault));
    assert_eq!(rig.send(memory, &[], b"x"), refused(Fault::InvalidType));
    assert_eq!(rig.send(pipe, &[memory], b"x"), refused(Fault::InvalidType));
    assert_eq!(rig.send(read, &[], b"x"), refused(Fault::Err));
    assert_eq!(rig.send(context, &[99], b"x"), refused(Fault::InvalidId));
    assert_eq!(
        rig.send(context, &[memory; MAX_FDS + 1], b"x"),
        refused(Fault::InvalidCmd)
    );
    assert_eq!(
        rig.send(context, &[pipe, pipe], b"x"),
        refused(Fault::InvalidType)
    );
    assert_eq!(rig.send(context, &[pipe], b"x"), Some(Response::Ok));
    assert_eq!(rig.send(context, &[pipe], b"x"), refused(Fault::InvalidType));
    assert_eq!(
        rig.send(context, &[memory, memory, context], b"x"),
        Some(Response::Ok)
    );
    rig.machine.ended(context);
    rig.pump();
    assert_eq!(rig.send(context, &[], b"x"), refused(Fault::InvalidType));
    assert_eq!(rig.recv(context, 9), RecvOutcome::Eof);
}

#[test]
fn a_pipe_from_the_host_cannot_be_sent_on() {
    let mut rig = Rig::new(Limits::default());
    let context = rig.context();
    let handle = rig.handle();
    rig.machine.received(
        context,
        vec![1],
        vec![Import::Pipe {
            handle,
            end: PipeEnd::Write,
        }],
    );
    rig.pump();
    rig.recv(context, 1);
    let pipe = rig.given[0];
    assert_eq!(
        rig.send(context, &[pipe], b"x"),
        Some(Response::Fault(Fault::InvalidType))
    );
    assert_eq!(rig.send(pipe, &[], b"x"), Some(Response::Ok));
}

#[test]
fn an_import_that_fails_ends_its_connection_and_no_other() {
    let mut rig = Rig::new(Limits::default());
    let (one, two) = (rig.context(), rig.context());
    let memory = Import::Memory {
        handle: rig.handle(),
        size: 4096,
    };
    rig.machine
        .received(one, b"lost".to_vec(), vec![memory, Import::Refused]);
    rig.machine.received(two, b"kept".to_vec(), Vec::new());
    rig.pump();
    assert!(rig.driver.hung_up(one) && !rig.driver.readable(one));
    let kept = RecvOutcome::Data {
        data: b"kept".to_vec(),
        vfds: Vec::new(),
        returned: 1,
    };
    assert_eq!(rig.recv(two, 99), kept);
    assert!(!rig.driver.hung_up(two));
    assert_eq!(rig.live.get(), 1);
}
