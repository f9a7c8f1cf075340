//! The nearest right word for a wrong one.

/// The candidate nearest to `word`, if it is near enough to have been meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            *distance
                <= candidate
                    .chars()
                    .count()
                    .max(word.chars().count())
                    .div_ceil(3)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean X? <what> are A, B, C`, as far as there is something to say.
pub(crate) fn hint<'a>(
    word: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let all: Vec<_> = candidates.into_iter().collect();
    if all.is_empty() {
        return None;
    }
    let list = format!("{what}: {}", all.join(", "));
    Some(match nearest(word, all) {
        Some(meant) => format!("did you mean {meant}? {list}"),
        None => list,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_noise_finds_none() {
        let words = ["functions", "scheduler", "from"];
        assert_eq!(nearest("fucntions", words), Some("functions"));
        assert_eq!(nearest("Scheduler", words), Some("scheduler"));
        assert_eq!(nearest("xyzzy", words), None);
    }
}
