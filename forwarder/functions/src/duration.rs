//! Times as people write them: `250ms`, `2s`, `1.5s`, `5m`, `1h`.

use std::time::Duration;

/// Text that is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no time; write a number and a unit such as 250ms, 2s, 5m or 1h")]
pub struct DurationError {
    /// The refused text.
    pub text: String,
}

/// Longest time accepted: a thousand hours.
const LONGEST: f64 = 3_600_000.0;

/// Reads `text`.
///
/// # Errors
/// No number, no unit, a negative number or more than a thousand hours.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let refuse = || DurationError {
        text: text.to_owned(),
    };
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(refuse)?;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| refuse())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(refuse()),
    };
    if seconds > LONGEST {
        return Err(refuse());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(parse("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse("1.5s").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse("5m").unwrap(), Duration::from_secs(300));
    }

    #[test]
    fn a_bare_number_or_a_wrong_unit_is_refused_with_the_right_form() {
        for text in ["5", "5d", "s", "-1s", "", "1e9s", "9999h"] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains("250ms"), "{text}");
        }
    }
}
