//! Which version may follow which, which one a box starts, and what became of an update that an
//! agent finds when it starts. Pure.

use super::UpdateError;
use kc_agent_api::{UpdateOutcome, UpdateRecord};
use semver::Version;

/// Longest version: it names a directory.
const LONGEST: usize = 64;

/// A version as it stands in a manifest.
///
/// # Errors
/// It is none.
pub fn version(text: &str) -> Result<Version, UpdateError> {
    let refuse = || UpdateError::Version(text.chars().take(LONGEST).collect());
    if text.len() > LONGEST {
        return Err(refuse());
    }
    Version::parse(text).map_err(|_| refuse())
}

/// Whether `offered` may follow `running`.
///
/// # Errors
/// It is the same, or older and nobody allowed that.
pub fn may_follow(
    running: &Version,
    offered: &Version,
    allow_downgrade: bool,
) -> Result<(), UpdateError> {
    if offered == running {
        return Err(UpdateError::Same(offered.clone()));
    }
    if offered < running && !allow_downgrade {
        return Err(UpdateError::Older {
            running: running.clone(),
            offered: offered.clone(),
        });
    }
    Ok(())
}

/// Whether the version that was taken last is started, and not the one of the system's package:
/// `current`, with the package's version at that time. A newer package wins over older updates; the
/// same package does not win over a downgrade.
pub fn prefer_current(packaged: &Version, current: &Version, base: Option<&Version>) -> bool {
    base == Some(packaged) || current > packaged
}

/// What has become of an update that was on trial, seen by the agent that starts now as `running`.
/// Anything but the version on trial means that the trial was never decided.
#[must_use]
pub fn settled(record: UpdateRecord, running: &str) -> UpdateRecord {
    if record.outcome != UpdateOutcome::Trying {
        return record;
    }
    if record.version == running {
        return UpdateRecord {
            outcome: UpdateOutcome::Updated,
            reason: None,
            ..record
        };
    }
    UpdateRecord {
        outcome: UpdateOutcome::Failed,
        reason: Some("the box, or its agent, went down while it was on trial".to_owned()),
        ..record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v(text: &str) -> Version {
        version(text).unwrap()
    }

    #[test]
    fn only_a_version_is_one() {
        for wrong in [
            "",
            "1",
            "1.2",
            "v1.2.3",
            "../../etc",
            "1.2.3/..",
            ".",
            "1.2.3-\0",
            "1.2.3 ",
        ] {
            assert!(version(wrong).is_err(), "{wrong:?}");
        }
        assert!(version(&format!("1.2.3-{}", "a".repeat(100))).is_err());
        assert_eq!(v("1.2.3-rc.1+lab2").to_string(), "1.2.3-rc.1+lab2");
    }

    #[test]
    fn an_older_version_needs_a_word_and_the_same_is_none() {
        let told = |running, offered| {
            let refused = may_follow(&v(running), &v(offered), false);
            refused.err().map(|error| error.to_string())
        };
        assert_eq!(told("0.1.0", "0.2.0"), None);
        assert_eq!(told("0.2.0-rc.1", "0.2.0"), None);
        assert_eq!(told("0.2.0", "0.2.0+lab1"), None);
        assert!(
            told("0.10.0", "0.9.0")
                .unwrap()
                .contains("--allow-downgrade")
        );
        assert_eq!(
            told("0.2.0", "0.2.0").unwrap(),
            "version 0.2.0 runs already"
        );
        assert!(may_follow(&v("0.2.0"), &v("0.1.0"), true).is_ok());
        assert!(may_follow(&v("0.2.0"), &v("0.2.0"), true).is_err());
    }

    #[test]
    fn a_newer_package_wins_over_updates_and_the_same_one_over_none() {
        let prefers = |packaged, current, base: Option<&str>| {
            prefer_current(&v(packaged), &v(current), base.map(v).as_ref())
        };
        assert!(prefers("0.1.0", "0.2.0", Some("0.1.0")));
        assert!(
            prefers("0.2.0", "0.1.0", Some("0.2.0")),
            "a downgrade stays one"
        );
        assert!(
            !prefers("0.3.0", "0.2.0", Some("0.1.0")),
            "dpkg brought a newer one"
        );
        assert!(!prefers("0.2.0", "0.2.0", Some("0.1.0")));
        assert!(prefers("0.2.0", "0.3.0", Some("0.1.0")));
        assert!(prefers("0.1.0", "0.2.0", None));
    }

    #[test]
    fn a_trial_that_nobody_decided_has_failed() {
        let trying = UpdateRecord {
            attempt: 1,
            version: "0.2.0".into(),
            from: "0.1.0".into(),
            outcome: UpdateOutcome::Trying,
            reason: None,
        };
        assert_eq!(
            settled(trying.clone(), "0.2.0").outcome,
            UpdateOutcome::Updated
        );
        let failed = settled(trying.clone(), "0.1.0");
        assert_eq!(failed.outcome, UpdateOutcome::Failed);
        assert!(failed.reason.unwrap().contains("went down"));
        let decided = UpdateRecord {
            outcome: UpdateOutcome::Failed,
            reason: Some("x".into()),
            ..trying
        };
        assert_eq!(settled(decided.clone(), "0.2.0"), decided);
    }

    proptest! {
        #[test]
        fn a_version_names_one_directory_and_nothing_else(text in ".{0,80}") {
            if let Ok(version) = version(&text) {
                let path = std::path::Path::new("/v").join(version.to_string());
                prop_assert_eq!(path.parent(), Some(std::path::Path::new("/v")));
                prop_assert_eq!(version.to_string(), text);
            }
        }
    }
}
