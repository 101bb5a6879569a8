//! The difference of two texts, by lines.

/// Lines of context around a change.
const CONTEXT: usize = 3;

/// What turns `old` into `new`: lines with `-` and `+`, and some that both have. Before each group
/// stands the heading that it is under: the last line above it that starts with `;; ====`.
pub(super) fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let lines = edits(&old, &new);
    let near_change = |at: usize| {
        let from = at.saturating_sub(CONTEXT);
        lines[from..lines.len().min(at + CONTEXT + 1)].iter().any(|(mark, _)| *mark != ' ')
    };
    let mut out = String::new();
    let (mut left_out, mut heading) = (true, None);
    for (at, (mark, line)) in lines.iter().enumerate() {
        if line.starts_with(";; ====") {
            heading = Some(line);
        }
        if near_change(at) {
            if left_out && let Some(heading) = heading.filter(|heading| *heading != line) {
                out.push_str(heading);
                out.push('\n');
            }
            out.push_str(format!("{mark} {line}").trim_end());
            out.push('\n');
        }
        left_out = !near_change(at);
    }
    out
}

/// All lines of both, in order, by a longest common subsequence.
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    // common[i][j]: how many lines old[i..] and new[j..] have in common, in order.
    let mut common = vec![vec![0u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    lines
}

#[test]
fn a_difference_shows_changes_what_is_around_them_and_their_heading() {
    let old = "0\n;; ==== A ====\n1\n2\n3\n4\n5\n6\n7\n8\n;; ==== B ====\n9\n10\n11\n12";
    assert_eq!(diff(old, old), "");
    let new = old.replace("4\n", "4\n4a\n").replace("12", "13");
    assert_eq!(
        diff(old, &new),
        ";; ==== A ====\n  2\n  3\n  4\n+ 4a\n  5\n  6\n  7\n\
         ;; ==== B ====\n  9\n  10\n  11\n- 12\n+ 13\n"
    );
    assert_eq!(diff("a\nb\nc\nd\ne", "b\nc\nd\ne"), "- a\n  b\n  c\n  d\n");
}
