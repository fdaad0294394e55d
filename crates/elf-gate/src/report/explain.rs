//! What a rule is for, told to somebody who has just been stopped by it.

use crate::policy::Rule;

/// Lines for a terminal.
pub fn explain(rule: &Rule) -> String {
    let stages: Vec<&str> = rule.stages.iter().map(|stage| stage.name()).collect();
    let demanded_by = rule.demanded_by.replace('`', "");
    let mut text = format!("{} (at {})\n", rule.id, stages.join(", "));
    let parts = [
        ("demanded by", demanded_by.as_str()),
        ("catches", rule.catches),
        ("why", rule.why),
        ("would have stopped", rule.incident),
        ("peers", rule.peers),
        ("fix", rule.fix),
    ];
    for (label, part) in parts {
        text += &format!("  {label:18}  {}\n", wrapped(part, 22));
    }
    text
}

/// At the width of a terminal, each further line below the first.
pub fn wrapped(text: &str, indent: usize) -> String {
    const WIDTH: usize = 100;
    let mut out = String::new();
    let mut column = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            out += &format!("\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{explain, wrapped};
    use crate::policy::RULES;

    #[test]
    fn lines_fit_a_terminal_and_leave_nothing_out() {
        for rule in RULES {
            let text = explain(rule);
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
            let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
            for part in [rule.catches, rule.why, rule.incident, rule.fix] {
                assert!(!part.is_empty(), "{}", rule.id);
                assert!(
                    words(&text).windows(words(part).len()).any(|window| window == words(part)),
                    "{text}"
                );
            }
        }
        assert_eq!(wrapped("a b", 0), "a b");
    }
}
