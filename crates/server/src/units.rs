//! Sizes and durations as people write them: `64 MiB`, `30s`. A number without its unit is refused, except 0.

use std::time::Duration;

pub fn bytes(text: &str) -> Result<u64, String> {
    let units = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1u64 << 30)];
    let (number, factor) =
        split(text, &units).ok_or("expected a size such as `64 MiB` (B, KiB, MiB, GiB)")?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
}

pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("min", 60_000)];
    let (number, factor) =
        split(text, &units).ok_or("expected a time such as `500 ms` or `30 s` (ms, s, min)")?;
    number.checked_mul(factor).map(Duration::from_millis).ok_or_else(|| format!("`{text}` is too long"))
}

fn split(text: &str, units: &[(&str, u64)]) -> Option<(u64, u64)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse().ok()?;
    match text[digits..].trim_start() {
        "" if number == 0 => Some((0, 1)),
        unit => units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| (number, *factor)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_a_space() {
        assert_eq!(bytes("64 MiB"), Ok(64 << 20));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2 min"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn a_missing_or_unknown_unit_is_refused() {
        for text in ["64", "", "MiB", "1.5 MiB", "-1 MiB", "64 MB", "18446744073709551615 GiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert!(duration("30").is_err() && duration("1 h").is_err());
    }
}
