//! One line for each request and each answer.

use super::{End, Patch, Ran};

/// The first line of a server that accepts requests; any other line says what failed.
pub(super) const READY: &str = "ready";

/// `OFFSET:HEX OFFSET:HEX`; an empty line runs the original.
pub(super) fn request(patches: &[Patch]) -> String {
    let words: Vec<String> =
        patches.iter().map(|patch| format!("{}:{}", patch.offset, hex(&patch.bytes))).collect();
    words.join(" ") + "\n"
}

pub(super) fn parse_request(line: &str) -> Option<Vec<Patch>> {
    line.split_whitespace()
        .map(|word| {
            let (offset, bytes) = word.split_once(':')?;
            Some(Patch { offset: offset.parse().ok()?, bytes: unhex(bytes)? })
        })
        .collect()
}

/// `END NUMBER HEX`
pub(super) fn answer(ran: &Ran) -> String {
    let (end, number) = match ran.end {
        End::Exited(code) => ("exited", code),
        End::Killed(signal) => ("killed", signal),
        End::TimedOut => ("timed-out", 0),
        End::NotStarted(error) => ("not-started", error),
    };
    format!("{end} {number} {}\n", hex(&ran.stdout))
}

pub(super) fn parse_answer(line: &str) -> Option<Ran> {
    let mut words = line.split(' ');
    let (end, number) = (words.next()?, words.next()?.parse().ok()?);
    let end = match end {
        "exited" => End::Exited(number),
        "killed" => End::Killed(number),
        "timed-out" => End::TimedOut,
        "not-started" => End::NotStarted(number),
        _ => return None,
    };
    Some(Ran { end, stdout: unhex(words.next().unwrap_or_default())? })
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_return_unchanged() {
        let patches = [Patch { offset: 0, bytes: vec![0, 255] }, Patch { offset: 1 << 40, bytes: vec![18] }];
        assert_eq!(parse_request(&request(&patches)).unwrap(), patches);
        assert_eq!(parse_request("\n").unwrap(), []);
        for end in [End::Exited(3), End::Killed(11), End::TimedOut, End::NotStarted(8)] {
            for stdout in [vec![], b"1.0\n".to_vec()] {
                let ran = Ran { end: end.clone(), stdout };
                assert_eq!(parse_answer(answer(&ran).trim_end()).unwrap(), ran);
            }
        }
    }

    #[test]
    fn rejects_lines_that_are_not_complete() {
        for line in ["x", "1:0", "1:zz", ":00", "-1:00"] {
            assert_eq!(parse_request(line), None, "{line}");
        }
        for line in ["", "exited", "exited x", "ended 1", "exited 1 0"] {
            assert_eq!(parse_answer(line), None, "{line}");
        }
    }
}
