// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory server's client and the display socket, over the device.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use heraldry_identity::VmName;
use heraldry_virtio::guest::{
    DEVICE_PATH, Device, DisplayError, DisplaySocket, MemfdClient, MemfdError, memory_covers, take_connection,
};
use heraldry_wire::Record as _;
use heraldry_wire::connection::{TOKEN_RECORD_LEN, TokenRecord};
use heraldry_wire::display::{Announcement, CompositorRecord, HostRecord, RECORD_LEN, Way};
use heraldry_wire::memfd::{MemfdFailure, MemfdRequest, REQUEST_LEN, encode_reply};
use rustix::event::PollFlags;

use crate::fixture::{both, memfd, read_at_start, ready};

#[test]
fn memory_comes_over_one_connection() {
    both(
        "services::memory_comes_over_one_connection",
        |host| {
            let peer = host.accept();
            for (purpose, size) in [("keymap", 5000), ("table", 100)] {
                let request = MemfdRequest::decode(&peer.recv(REQUEST_LEN).0).unwrap();
                assert_eq!(request.clean_name(), format!("heraldry/work/{purpose}"));
                assert_eq!(request.size, size);
                let memory = memfd(b"", size);
                peer.send(&[encode_reply(Ok(()))], &[memory.as_fd()]);
                peer.recv(0);
                let request = MemfdRequest::decode(&peer.recv(REQUEST_LEN).0).unwrap();
                assert_eq!(request.vm(), Some(VmName::new("greedy").unwrap()));
                assert_eq!(read_at_start(&memory, 4), b"keys");
                peer.send(&[encode_reply(Err(MemfdFailure::VmBudget))], &[]);
            }
            peer.end();
        },
        |_device| {
            let mut client = MemfdClient::new(Arc::new(Device::open(DEVICE_PATH).unwrap()));
            for (purpose, size, pages) in [("keymap", 5000, 2), ("table", 100, 1)] {
                let memory = client
                    .allocate(&VmName::new("work").unwrap(), purpose, size)
                    .unwrap();
                assert_eq!(memory.size(), size);
                memory.fill(b"keys").unwrap();
                assert!(memory_covers(memory.as_fd(), pages * 4096));
                assert!(!memory_covers(memory.as_fd(), pages * 4096 + 1));
                let refused = client.allocate(&VmName::new("greedy").unwrap(), "all", 1 << 40);
                assert!(
                    matches!(refused, Err(MemfdError::Refused(MemfdFailure::VmBudget))),
                    "{refused:?}"
                );
            }
        },
    );
}

#[test]
fn announced_connections_are_taken() {
    both(
        "services::announced_connections_are_taken",
        |host| {
            let display = host.accept();
            assert_eq!(
                CompositorRecord::decode(&display.recv(RECORD_LEN).0),
                Ok(CompositorRecord::Hello)
            );
            let announcement = Announcement {
                number: 3,
                boot: 9,
                vm: VmName::new("work").unwrap(),
                way: Way::Token([5; 32]),
            };
            let bytes = [
                HostRecord::Hello.encode(),
                HostRecord::Announce(announcement).encode(),
            ]
            .concat();
            let (head, tail) = bytes.split_at(100);
            display.send(head, &[]);
            display.send(tail, &[]);
            let connection = host.accept();
            let record = TokenRecord::decode(&connection.recv(TOKEN_RECORD_LEN).0).unwrap();
            assert!(record.number == 3 && record.has_token(&[5; 32]));
            let taken = CompositorRecord::decode(&display.recv(RECORD_LEN).0);
            assert_eq!(taken, Ok(CompositorRecord::Take { number: 3 }));
            drop(display);
            connection.echo();
        },
        |device| {
            let mut display = DisplaySocket::connect(device).unwrap();
            let mut records = Vec::new();
            while records.is_empty() {
                ready(&display, PollFlags::IN);
                display.receive(&mut records).unwrap();
            }
            let Some(HostRecord::Announce(announcement)) = records.pop() else {
                panic!("no announcement")
            };
            assert_eq!((announcement.vm.as_str(), announcement.boot), ("work", 9));
            let connection = take_connection(device, &announcement).unwrap();
            display
                .send(&CompositorRecord::Take {
                    number: announcement.number,
                })
                .unwrap();
            ready(&display, PollFlags::IN);
            let end = display.receive(&mut records);
            assert!(matches!(end, Err(DisplayError::Closed)), "{end:?}");
            // The connection lives on without the display socket.
            connection.send(b"client", &[]).unwrap();
            ready(&connection, PollFlags::IN);
        },
    );
}
