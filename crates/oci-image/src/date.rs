//! Dates of image documents: seconds since 1970 as RFC 3339, in UTC.

use jiff::Timestamp;

/// The date `unix_seconds` in RFC 3339.
///
/// Dates after the year 9999 become the last date that RFC 3339 can write; [`OciImage::build`](crate::OciImage::build) rejects them.
///
/// ```
/// assert_eq!(oci_image::rfc3339(1_735_689_600), "2025-01-01T00:00:00Z");
/// ```
pub fn rfc3339(unix_seconds: u64) -> String {
    timestamp(unix_seconds).unwrap_or(Timestamp::MAX).to_string()
}

/// Whether RFC 3339 can write the date.
pub fn is_valid(unix_seconds: u64) -> bool {
    timestamp(unix_seconds).is_some()
}

fn timestamp(unix_seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(unix_seconds).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The right-hand sides are the output of `date -u -d @N`.
    #[test]
    fn dates_agree_with_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_128_000, "9999-12-30T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
            assert!(is_valid(seconds));
        }
    }

    #[test]
    fn dates_after_the_year_9999_are_invalid() {
        for seconds in [253_402_300_800, 1_735_689_600_000, u64::MAX] {
            assert!(!is_valid(seconds));
            assert!(rfc3339(seconds).starts_with("9999-12-30T"));
        }
    }
}
