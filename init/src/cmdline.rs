// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel command line: `heraldry.KEY=VALUE`. Pure.

use std::path::PathBuf;

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Where the configuration is if nobody says otherwise.
pub(super) const DEFAULT_CONFIG: &str = "/etc/heraldry/heraldry.kdl";
const PREFIX: &str = "heraldry.";

/// Which virtio_wl device the compositor gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeviceChoice {
    /// `/dev/wl0`, if it is there.
    Auto,
    /// None: no VM can connect.
    None,
    /// This one.
    Path(PathBuf),
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BootOptions {
    /// The configuration.
    pub(super) config: PathBuf,
    /// The log filter of init and compositor.
    pub(super) log: String,
    /// The virtio_wl device.
    pub(super) device: DeviceChoice,
    /// What the compositor draws with; it chooses itself if nothing is said.
    pub(super) renderer: Option<String>,
}

impl Default for BootOptions {
    fn default() -> Self {
        Self {
            config: PathBuf::from(DEFAULT_CONFIG),
            log: "info".to_owned(),
            device: DeviceChoice::Auto,
            renderer: None,
        }
    }
}

impl BootOptions {
    /// What is logged.
    pub(super) fn filter(&self) -> Targets {
        // Only what can be read gets into the options.
        let filter = self.log.parse();
        filter.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO))
    }
}

/// Reads the command line. Returns the options, and what is wrong with it: a word that cannot be understood changes
/// nothing, because a machine that does not boot over a typing error helps nobody.
pub(super) fn parse(text: &str) -> (BootOptions, Vec<String>) {
    let mut options = BootOptions::default();
    let mut warnings = Vec::new();
    for word in words(text) {
        let Some(setting) = word.strip_prefix(PREFIX) else {
            continue;
        };
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        if value.is_empty() {
            warnings.push(format!("{PREFIX}{key} on the kernel command line has no value"));
            continue;
        }
        match key {
            "config" => absolute(key, value, &mut warnings, |path| options.config = path),
            "log" => match value.parse::<Targets>() {
                Ok(_) => value.clone_into(&mut options.log),
                Err(error) => warnings.push(format!("heraldry.log={value:?} is no level: {error}")),
            },
            "device" if value == "none" => options.device = DeviceChoice::None,
            "device" => absolute(key, value, &mut warnings, |path| {
                options.device = DeviceChoice::Path(path);
            }),
            "renderer" if matches!(value, "auto" | "pixman" | "gles") => {
                options.renderer = Some(value.to_owned());
            }
            "renderer" => warnings.push(format!(
                "heraldry.renderer={value:?} is none of auto, pixman, gles"
            )),
            _ => warnings.push(format!(
                "{PREFIX}{key} on the kernel command line is unknown; known are config, log, device, renderer"
            )),
        }
    }
    (options, warnings)
}

fn absolute(key: &str, value: &str, warnings: &mut Vec<String>, set: impl FnOnce(PathBuf)) {
    let path = PathBuf::from(value);
    if path.is_absolute() {
        set(path);
    } else {
        warnings.push(format!("{PREFIX}{key}={value:?} is no absolute path"));
    }
}

/// Splits at spaces outside of double quotes, as the kernel does.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            c if c.is_whitespace() && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                    begun = false;
                }
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_and_other_words_are_the_kernels() {
        let (options, warnings) = parse(
            "BOOT_IMAGE=/vmlinuz console=ttyS0 quiet heraldry.config=/etc/a.kdl heraldry.log=\"info,smithay=debug\" \
             heraldry.device=none heraldry.renderer=pixman panic=-1\n",
        );
        assert_eq!(warnings, [""; 0]);
        assert_eq!(
            options,
            BootOptions {
                config: "/etc/a.kdl".into(),
                log: "info,smithay=debug".to_owned(),
                device: DeviceChoice::None,
                renderer: Some("pixman".to_owned()),
            }
        );
        let (options, _) = parse("heraldry.device=/dev/wl1");
        assert_eq!(options.device, DeviceChoice::Path("/dev/wl1".into()));
    }

    #[test]
    fn what_cannot_be_understood_is_a_warning_and_changes_nothing() {
        let text = "heraldry.confg=/x heraldry.config heraldry.config= heraldry.config=relative heraldry.log=smithay=loud \
                    heraldry.renderer=vulkan";
        let (options, warnings) = parse(text);
        assert_eq!(options, BootOptions::default());
        assert_eq!(warnings.len(), 6, "{warnings:#?}");
        assert!(warnings[0].contains("heraldry.confg"));
    }

    #[test]
    fn words_end_at_spaces_outside_of_quotes() {
        assert_eq!(words(" a \"b c\"d  \"\" e\n"), ["a", "b cd", "", "e"]);
        assert_eq!(words(""), [""; 0]);
    }
}
