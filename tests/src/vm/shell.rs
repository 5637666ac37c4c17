// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs in the machine, started through the test image's shell.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use super::PATIENCE;

/// Ends what a command printed.
const END: u8 = 3;

/// The shell.
#[derive(Debug)]
pub struct Shell {
    reader: BufReader<UnixStream>,
    ready: bool,
}

impl Shell {
    pub(super) fn new(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            reader: BufReader::new(stream),
            ready: false,
        })
    }

    /// What was printed up to the end, and the word after it.
    fn answer(&mut self) -> std::io::Result<(String, String)> {
        let (mut text, mut word) = (Vec::new(), String::new());
        self.reader.read_until(END, &mut text)?;
        self.reader.read_line(&mut word)?;
        if text.pop() != Some(END) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok((
            String::from_utf8_lossy(&text).into_owned(),
            word.trim_end().to_owned(),
        ))
    }

    /// Runs a line as root. Returns its exit code and what it printed.
    ///
    /// # Panics
    ///
    /// The machine does not answer.
    #[track_caller]
    pub fn try_run(&mut self, line: &str) -> (i32, String) {
        assert!(!line.contains('\n'), "a line is one line");
        let mut run = || {
            if !self.ready {
                self.answer()?;
                self.ready = true;
            }
            self.reader.get_mut().write_all(format!("{line}\n").as_bytes())?;
            self.answer()
        };
        match run() {
            Ok((text, code)) => (code.parse().unwrap_or(-1), text),
            Err(error) => panic!("the machine does not run `{line}`: {error}"),
        }
    }

    /// Runs a line that must succeed. Returns what it printed.
    ///
    /// # Panics
    ///
    /// It fails.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        let (code, text) = self.try_run(line);
        assert_eq!(code, 0, "`{line}` in the machine: {text}");
        text
    }

    /// Runs a line that the shell itself does not survive.
    ///
    /// # Panics
    ///
    /// The machine is gone already.
    #[track_caller]
    pub fn run_last(&mut self, line: &str) {
        self.run("true");
        let sent = self.reader.get_mut().write_all(format!("{line}\n").as_bytes());
        sent.expect("the shell reads");
        self.expect_another();
    }

    /// The machine boots again: the next shell says that it is there.
    pub(super) const fn expect_another(&mut self) {
        self.ready = false;
    }

    /// Starts a line in the background; what it prints goes to `/tmp/NAME.log`.
    #[track_caller]
    pub fn start(&mut self, name: &str, line: &str) {
        self.run(&format!("({line}) >/tmp/{name}.log 2>&1 &"));
    }
}
