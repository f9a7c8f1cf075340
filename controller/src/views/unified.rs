//! A unified diff of two short texts, whole, without hunks: manifests fit on a screen.

/// Lines beyond which the middle is not compared line by line.
const MOST: usize = 2_000;

/// Lines of `after` against `before`: `-` gone, `+` new, blank kept. Empty when they are equal.
pub fn unified(before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - head;
    let tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(rest)
        .take_while(|(a, b)| a == b)
        .count();
    let (start, old_mid) = old.split_at(head);
    let (old_mid, end) = old_mid.split_at(old_mid.len() - tail);
    let new_mid = new.get(head..new.len() - tail).unwrap_or_default();
    let mut text = String::new();
    let mut put = |mark: char, line: &str| {
        text.push(mark);
        text.push_str(line);
        text.push('\n');
    };
    start.iter().for_each(|line| put(' ', line));
    for (mark, line) in middle(old_mid, new_mid) {
        put(mark, line);
    }
    end.iter().for_each(|line| put(' ', line));
    text
}

/// The longest common subsequence, told as marks.
fn middle<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let all = |mark, lines: &[&'a str]| lines.iter().map(move |l| (mark, *l)).collect::<Vec<_>>();
    if old.is_empty() || new.is_empty() || old.len() > MOST || new.len() > MOST {
        let mut marks = all('-', old);
        marks.extend(all('+', new));
        return marks;
    }
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let get = |i, j| common.get(at(i, j)).copied().unwrap_or(0);
            let best = if a == b {
                get(i + 1, j + 1) + 1
            } else {
                get(i + 1, j).max(get(i, j + 1))
            };
            if let Some(cell) = common.get_mut(at(i, j)) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut marks = Vec::new();
    loop {
        let get = |i, j| common.get(at(i, j)).copied().unwrap_or(0);
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                marks.push((' ', *a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), Some(_)) if get(i + 1, j) >= get(i, j + 1) => {
                marks.push(('-', *a));
                i += 1;
            }
            (_, Some(b)) => {
                marks.push(('+', *b));
                j += 1;
            }
            (Some(a), None) => {
                marks.push(('-', *a));
                i += 1;
            }
            (None, None) => return marks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn equal_texts_have_no_difference() {
        assert_eq!(unified("a\nb\n", "a\nb\n"), "");
    }

    #[test]
    fn a_changed_line_stands_between_those_that_stay() {
        assert_eq!(unified("a\nb\nc\n", "a\nx\nc\n"), " a\n-b\n+x\n c\n");
        assert_eq!(unified("a\na\n", "a\n"), " a\n-a\n");
        assert_eq!(unified("", "a\n"), "+a\n");
        assert_eq!(
            unified("a\nb\nc\nd\n", "a\nc\nb\nd\n"),
            " a\n-b\n c\n+b\n d\n"
        );
    }
}
