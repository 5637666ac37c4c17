// SPDX-License-Identifier: MIT OR Apache-2.0
//! "Did you mean": the known word that is nearest to a mistyped one.

/// A hint that names the word of `known` which `word` probably means.
pub(crate) fn did_you_mean(word: &str, known: &[&str]) -> Option<String> {
    if word.len() > 64 {
        return None;
    }
    let allowed = if word.chars().count() <= 3 { 1 } else { 2 };
    let near = known
        .iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .min()?;
    let underscored = known
        .iter()
        .find(|candidate| candidate.replace('-', "") == word.replace(['-', '_', ' '], ""));
    match underscored {
        Some(candidate) => Some(format!("did you mean {candidate:?}?")),
        None => (near.0 <= allowed).then(|| format!("did you mean {:?}?", near.1)),
    }
}

/// How many characters must be changed, added, removed or exchanged with a neighbour to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i.saturating_add(1)];
        for (j, &y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX);
            let mut best = at(&last, j).saturating_add(usize::from(x != y));
            best = best
                .min(at(&row, j).saturating_add(1))
                .min(at(&last, j.saturating_add(1)).saturating_add(1));
            let swapped = i > 0
                && j > 0
                && a.get(i.wrapping_sub(1)) == Some(&y)
                && b.get(j.wrapping_sub(1)) == Some(&x);
            if swapped {
                best = best.min(at(&before, j.wrapping_sub(1)).saturating_add(1));
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found() {
        let known = ["display-name", "color", "glyph"];
        assert_eq!(
            did_you_mean("colour", &known).as_deref(),
            Some("did you mean \"color\"?")
        );
        assert_eq!(
            did_you_mean("gylph", &known).as_deref(),
            Some("did you mean \"glyph\"?")
        );
        assert_eq!(
            did_you_mean("display_name", &known).as_deref(),
            Some("did you mean \"display-name\"?")
        );
        assert_eq!(did_you_mean("border", &known), None);
        assert_eq!(
            (
                distance("", "abc"),
                distance("ab", "ba"),
                distance("kitten", "sitting")
            ),
            (3, 1, 3)
        );
    }
}
