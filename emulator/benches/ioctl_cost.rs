// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a call costs under `heraldry-sim`: `cargo bench -p heraldry-sim`.

#[cfg(target_arch = "x86_64")]
fn main() {
    if std::env::var_os(emulated::ROLE).is_some() {
        emulated::guest();
    } else {
        emulated::host();
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {}

#[cfg(target_arch = "x86_64")]
#[expect(
    clippy::expect_used,
    reason = "a measurement that cannot be made ends with the reason"
)]
mod emulated {
    use std::collections::VecDeque;
    use std::fs::File;
    use std::hint::black_box;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;
    use std::process::Command;
    use std::time::Instant;

    use heraldry_virtio::guest::Device;
    use rustix::event::{PollFd, PollFlags, poll};

    pub(crate) const ROLE: &str = "HERALDRY_BENCH_GUEST";

    pub(crate) fn host() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("echo");
        let listener = UnixListener::bind(&path).expect("a socket");
        // The thread ends with the process.
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let echoed = stream.write_all(buffer.get(..count).unwrap_or_default());
                echoed.expect("the guest takes the echo");
            }
        });
        let status = Command::new(env!("CARGO_BIN_EXE_heraldry-sim"))
            .args(["--sockets", &format!("echo={}", path.display()), "--"])
            .arg(std::env::current_exe().expect("a name"))
            .env(ROLE, "1")
            .status();
        assert!(status.expect("heraldry-sim runs").success(), "the guest failed");
    }

    #[expect(clippy::print_stdout, reason = "the result of the measurement")]
    fn measure(what: &str, rounds: u32, mut call: impl FnMut()) {
        let start = Instant::now();
        for _ in 0..rounds {
            call();
        }
        let each = start.elapsed() / rounds;
        println!(
            "{what:<44} {:>8.2} us",
            f64::from(u32::try_from(each.as_nanos()).unwrap_or(u32::MAX)) / 1000.0
        );
    }

    pub(crate) fn guest() {
        let device = Device::open("/dev/wl0").expect("the device");
        let context = device.context("echo").expect("a context");
        measure("ioctl that is let through", 100_000, || {
            let _ = black_box(rustix::io::ioctl_fionread(&context));
        });
        measure("open(/dev/null), looked at and let through", 20_000, || {
            drop(File::open("/dev/null"))
        });
        let (mut buffer, mut fds) = (Vec::new(), VecDeque::new());
        measure("RECV, nothing there", 20_000, || {
            drop(context.recv(&mut buffer, &mut fds))
        });
        measure("SEND and RECV of an echo, 100 bytes", 20_000, || {
            context.send(&[1; 100], &[]).expect("a send");
            buffer.clear();
            while buffer.len() < 100 {
                let _ = poll(&mut [PollFd::new(&context, PollFlags::IN)], None);
                context.recv(&mut buffer, &mut fds).expect("a receive");
            }
        });
        measure("NEW_ALLOC and close", 5_000, || {
            drop(device.alloc(4096).expect("memory"))
        });
        measure("NEW_CTX and close", 2_000, || drop(device.context("echo")));
    }
}
