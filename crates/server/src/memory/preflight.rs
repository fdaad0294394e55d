//! The verdict: what is needed against the room that is left.
//!
//! Two ways not to fit. Anonymous memory that does not fit ends with the kernel killing the process. Anonymous memory that
//! fits and leaves no room for the weights is as bad: every token touches all of them, so their pages would be read from
//! disk again and again.

use std::fmt;

use super::limits::Room;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    pub anonymous: u64,
    /// Mapped from files.
    pub file: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Fits(Room),
    /// Neither cgroups nor /proc/meminfo could be read: cannot tell.
    Unknown,
    Refused(Refused),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    need: Need,
    headroom: u64,
    room: Room,
}

/// `headroom` is what must stay free after all.
pub fn judge(need: Need, headroom: u64, rooms: &[Room]) -> Verdict {
    let Some(room) = super::limits::smallest(rooms).cloned() else { return Verdict::Unknown };
    let total = need.anonymous.saturating_add(need.file).saturating_add(headroom);
    if total <= room.bytes { Verdict::Fits(room) } else { Verdict::Refused(Refused { need, headroom, room }) }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { need, headroom, room } = self;
        let why = if need.anonymous.saturating_add(*headroom) > room.bytes {
            "the kernel would kill the server"
        } else {
            "the weights would be read from disk again and again"
        };
        write!(
            f,
            "not enough memory: needs {} MiB anonymous + {} MiB of weights + {} MiB headroom, and {} MiB are free of {} MiB \
             ({}); {why}. Raise the limit, serve fewer or smaller models, use fewer `--threads`, a smaller `--queue-bytes` or \
             `--batch-tokens`, or pass `--no-memcheck`",
            mib(need.anonymous),
            mib(need.file),
            mib(*headroom),
            room.bytes >> 20,
            room.limit >> 20,
            room.source,
        )
    }
}

/// Rounded up: a need is never shown smaller than it is.
pub fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn verdict(anonymous: u64, file: u64, headroom: u64) -> Verdict {
        let room = |bytes: u64, source: &str| Room { bytes, limit: 600 * MIB, source: source.into() };
        let need = Need { anonymous: anonymous * MIB, file: file * MIB };
        judge(need, headroom * MIB, &[room(900 * MIB, "machine"), room(500 * MIB, "cgroup")])
    }

    #[test]
    fn the_tightest_room_decides_to_the_byte() {
        assert!(matches!(verdict(300, 180, 20), Verdict::Fits(room) if room.source == "cgroup"));
        assert!(matches!(verdict(300, 180, 21), Verdict::Refused(_)));
    }

    #[test]
    fn one_line_tells_the_two_reasons_apart_and_names_numbers_source_and_remedies() {
        let killed = verdict(501, 10, 0);
        let thrashing = verdict(100, 450, 0);
        for (verdict, why) in [(killed, "would kill"), (thrashing, "again and again")] {
            let Verdict::Refused(refused) = verdict else { panic!("{verdict:?}") };
            let line = refused.to_string();
            for words in [why, "500 MiB are free of 600 MiB", "cgroup", "--no-memcheck", "MiB of weights"] {
                assert!(line.contains(words), "`{words}` is missing in: {line}");
            }
            assert_eq!(line.lines().count(), 1);
        }
    }

    #[test]
    fn huge_needs_do_not_wrap_around_and_no_room_is_no_pass() {
        assert!(matches!(verdict(u64::MAX / MIB, u64::MAX / MIB, 1), Verdict::Refused(_)));
        assert_eq!(judge(Need::default(), 0, &[]), Verdict::Unknown);
    }
}
