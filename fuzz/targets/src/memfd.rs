// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory server: any request, against accounts that are kept here a second time.
//!
//! Input: the budget, then steps of one byte each with what they need.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use heraldry_config::MemfdLimits;
use heraldry_host::memory::MemoryServer;
use heraldry_identity::VmName;
use heraldry_wire::Record;
use heraldry_wire::memfd::{
    MemfdFailure, MemfdRequest, REQUEST_LEN, REQUEST_NAME_LEN, decode_reply, encode_reply,
};
use heraldry_wire::virtwl::PAGE_SIZE;
use rustix::fs::{SealFlags, fcntl_get_seals, fstat};

const VMS: [&str; 4] = ["work", "personal", "a", "0123456789012345678901234567890"];
/// The server gives all VMs together so many times what one may have.
const TOTAL_FACTOR: u64 = 64;
const MOST_STEPS: usize = 200;

/// See the module.
pub fn run(data: &[u8]) {
    // The end of the input is the end of the run.
    let _end = steps(&mut Unstructured::new(data));
}

fn limits(u: &mut Unstructured<'_>) -> Result<MemfdLimits> {
    Ok(MemfdLimits {
        bytes_per_vm: match u.arbitrary::<u8>()? % 4 {
            0 => 0,
            1 => u64::MAX,
            2 => u64::from(u.arbitrary::<u16>()?),
            _ => u64::from(u.arbitrary::<u32>()?),
        },
        count_per_vm: u32::from(u.arbitrary::<u8>()? % 40),
        // The bytes of an input mean what they meant: names of no VM are refused here, and tested in the server.
        bytes_for_others: 0,
    })
}

fn steps(u: &mut Unstructured<'_>) -> Result<()> {
    let mut now = limits(u)?;
    let mut server = MemoryServer::new(now);
    let mut had: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for _ in 0..MOST_STEPS {
        match u.arbitrary::<u8>()? {
            0..=239 => {
                let bytes = request(u)?;
                ask(&mut server, now, &mut had, &bytes);
            }
            240..=251 => {
                let vm = VMS[u.choose_index(VMS.len())?];
                server.forget(&VmName::new(vm).expect("a name"));
                had.remove(vm);
            }
            252.. => {
                now = limits(u)?;
                server.set_limits(now);
            }
        }
    }
    Ok(())
}

/// The bytes of a request: mostly one that has the right form.
fn request(u: &mut Unstructured<'_>) -> Result<[u8; REQUEST_LEN]> {
    let mut bytes = [0; REQUEST_LEN];
    let form = u.arbitrary::<u8>()?;
    if form % 8 == 0 {
        u.fill_buffer(&mut bytes)?;
        return Ok(bytes);
    }
    let mut name = b"heraldry/".to_vec();
    name.extend_from_slice(VMS[usize::from(form / 8) % VMS.len()].as_bytes());
    name.push(b'/');
    let purpose = u.arbitrary_len::<u8>()?.min(REQUEST_NAME_LEN - name.len());
    name.extend_from_slice(u.bytes(purpose)?);
    bytes[..name.len()].copy_from_slice(&name);
    let size = match form % 8 {
        1 => u.arbitrary::<u64>()?,
        2 => u64::from(u32::MAX) + u64::from(u.arbitrary::<u8>()? % 3),
        3 => 0,
        _ => u64::from(u.arbitrary::<u16>()?),
    };
    bytes[REQUEST_NAME_LEN..].copy_from_slice(&size.to_le_bytes());
    Ok(bytes)
}

fn ask(
    server: &mut MemoryServer,
    limits: MemfdLimits,
    had: &mut BTreeMap<String, (u64, u64)>,
    bytes: &[u8; REQUEST_LEN],
) {
    let Ok(request) = MemfdRequest::decode(bytes) else {
        return;
    };
    assert_eq!(request.encode(), *bytes, "what decodes encodes to the same");
    let clean = request.clean_name();
    assert!(clean.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && clean.len() <= 249);
    if let Some(vm) = request.vm() {
        let again = MemfdRequest::new(&vm, &clean, request.size);
        assert_eq!(again.vm(), Some(vm));
        assert_eq!(MemfdRequest::decode(&again.encode()).as_ref(), Ok(&again));
    }

    let before = total(had);
    let outcome = server.serve(&request, |vm| VMS[..3].contains(&vm.as_str()));
    let reply = encode_reply(outcome.as_ref().map(|_| ()).map_err(|failure| *failure));
    assert_eq!(
        decode_reply(reply),
        outcome.as_ref().map(|_| ()).map_err(|failure| *failure)
    );
    match outcome {
        Err(failure) => {
            assert!(
                !matches!(failure, MemfdFailure::NoMemory | MemfdFailure::Unknown(_)),
                "{failure}"
            );
        }
        Ok(memory) => {
            let vm = request.vm().expect("memory for nobody").as_str().to_owned();
            assert!(VMS[..3].contains(&vm.as_str()), "memory for a stranger");
            let size = fstat(&memory).map(|stat| u64::try_from(stat.st_size));
            let pages = request.size.next_multiple_of(PAGE_SIZE);
            assert_eq!(size, Ok(Ok(pages)));
            let fixed = SealFlags::SHRINK | SealFlags::GROW;
            assert!(fcntl_get_seals(&memory).is_ok_and(|seals| seals.contains(fixed)));
            let account = had.entry(vm).or_default();
            *account = (account.0 + pages, account.1 + 1);
            assert!(account.0 <= limits.bytes_per_vm && account.1 <= u64::from(limits.count_per_vm));
            assert!(before + pages <= limits.bytes_per_vm.saturating_mul(TOTAL_FACTOR));
        }
    }
    let accounts: BTreeMap<String, (u64, u64)> = server
        .used()
        .filter(|(_, used)| used.count > 0)
        .map(|(vm, used)| (vm.as_str().to_owned(), (used.bytes, used.count)))
        .collect();
    assert_eq!(accounts, *had, "the server's accounts are right");
}

fn total(had: &BTreeMap<String, (u64, u64)>) -> u64 {
    had.values().map(|(bytes, _)| bytes).sum()
}
