use std::fs;

use super::*;

const MIB: u64 = 1 << 20;
const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

struct Machine(tempfile::TempDir);

impl Machine {
    fn new(cgroup: &str, mountinfo: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.file("proc/self/cgroup", cgroup).file("proc/self/mountinfo", mountinfo);
        machine.file("proc/meminfo", "MemTotal: 16777216 kB\nMemFree: 100 kB\nMemAvailable: 8388608 kB\n");
        machine
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A level of version 2, in MiB; `None` is "max".
    fn v2(&self, level: &str, high: Option<u64>, max: Option<u64>, current: u64, files: u64) -> &Self {
        let text = |limit: Option<u64>| limit.map_or("max\n".into(), |mib| format!("{}\n", mib * MIB));
        let at = |file: &str| format!("sys/fs/cgroup{level}/{file}");
        self.file(&at("memory.high"), &text(high)).file(&at("memory.max"), &text(max));
        self.file(&at("memory.current"), &format!("{}\n", current * MIB));
        let stat = format!("anon {}\nfile 9\ninactive_file {}\nactive_file 0\n", 3 * MIB, files * MIB);
        self.file(&at("memory.stat"), &stat)
    }

    fn v1(&self, level: &str, limit: u64, hierarchical: u64, current: u64, files: u64) -> &Self {
        let at = |file: &str| format!("sys/fs/cgroup/memory{level}/{file}");
        self.file(&at("memory.limit_in_bytes"), &format!("{limit}\n"));
        self.file(&at("memory.usage_in_bytes"), &format!("{}\n", current * MIB));
        let stat = format!(
            "cache 1\nhierarchical_memory_limit {hierarchical}\ntotal_inactive_file {}\ntotal_active_file {}\n",
            files * MIB,
            files * MIB
        );
        self.file(&at("memory.stat"), &stat)
    }

    #[track_caller]
    fn check(&self, mib: u64, source: &str) {
        let limits = read_limits(self.0.path());
        let tightest = tightest(&limits).unwrap();
        assert_eq!(
            (tightest.available / MIB, tightest.source.to_string().as_str()),
            (mib, source),
            "{limits:#?}"
        );
    }
}

const MACHINE: &str = "MemAvailable and MemTotal in /proc/meminfo";

#[test]
fn v2_in_a_namespace_reads_the_mount_point() {
    Machine::new("0::/\n", V2).v2("", None, Some(512), 100, 60).check(472, "/sys/fs/cgroup/memory.max");
}

#[test]
fn v2_the_tightest_ancestor_decides() {
    let machine = Machine::new("0::/kubepods/pod1/c1\n", V2);
    machine.v2("/kubepods/pod1/c1", None, None, 10, 0);
    machine.v2("/kubepods/pod1", None, Some(300), 250, 20).v2("/kubepods", None, Some(4096), 300, 0);
    machine.check(70, "/sys/fs/cgroup/kubepods/pod1/memory.max");
}

#[test]
fn v2_memory_high_counts_like_max() {
    Machine::new("0::/a\n", V2)
        .v2("/a", Some(200), Some(400), 50, 0)
        .check(150, "/sys/fs/cgroup/a/memory.high");
}

#[test]
fn v2_usage_above_the_limit_leaves_zero_bytes() {
    Machine::new("0::/a\n", V2).v2("/a", Some(100), None, 150, 20).check(0, "/sys/fs/cgroup/a/memory.high");
}

#[test]
fn v2_in_a_container_without_a_namespace_reads_the_mount_point() {
    let mount = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
    Machine::new("0::/docker/abc\n", mount)
        .v2("", None, Some(256), 6, 0)
        .check(250, "/sys/fs/cgroup/memory.max");
}

#[test]
fn v2_a_path_outside_of_the_mount_reads_the_mount_point() {
    let machine = Machine::new("0::/../other\n", V2);
    machine.v2("", None, Some(256), 0, 0);
    machine.check(256, "/sys/fs/cgroup/memory.max");
}

#[test]
fn v2_reads_a_mount_point_with_escaped_characters() {
    let mount = "30 23 0:26 / /my\\040cgroup rw - cgroup2 none rw\n";
    let machine = Machine::new("0::/a\n", mount);
    machine.file("my cgroup/a/memory.max", "1048576\n").file("my cgroup/a/memory.current", "0\n");
    machine.check(1, "/my cgroup/a/memory.max");
}

const V1: &str = "36 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
const NONE: u64 = 9_223_372_036_854_771_712;

#[test]
fn v1_hierarchical_limit_covers_ancestors() {
    let machine = Machine::new("5:cpu:/x\n4:memory:/a/b\n", V1);
    machine.v1("/a/b", NONE, 512 * MIB, 100, 10);
    machine.check(432, "/sys/fs/cgroup/memory/a/b/memory.stat");
}

#[test]
fn v1_an_ancestor_with_less_available_memory_decides() {
    let machine = Machine::new("4:memory:/a/b\n", V1);
    machine.v1("/a/b", NONE, 512 * MIB, 10, 0).v1("/a", 512 * MIB, 512 * MIB, 500, 0);
    machine.check(12, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes");
}

#[test]
fn v1_a_value_near_two_to_the_63_is_no_limit() {
    Machine::new("4:memory:/\n", V1).v1("", NONE, NONE, 100, 0).check(8192, MACHINE);
}

#[test]
fn hybrid_hierarchies_read_both_versions() {
    let both = format!("{V1}31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    let machine = Machine::new("4:memory:/a\n0::/a\n", &both);
    machine.v1("/a", 64 * MIB, 64 * MIB, 4, 0).file("sys/fs/cgroup/unified/a/cgroup.procs", "1\n");
    machine.check(60, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes");
}

#[test]
fn without_a_cgroup_the_machine_decides() {
    Machine::new("", "").check(8192, MACHINE);
    let machine = Machine::new("", "");
    machine.file("proc/meminfo", "MemTotal: 4096 kB\nMemFree: 1024 kB\nCached: 2048 kB\n");
    machine.check(3, "MemFree + Buffers + Cached and MemTotal in /proc/meminfo");
}

#[test]
fn the_source_of_a_limit_is_the_file_that_holds_it() {
    let machine = Machine::new("0::/a\n", V2);
    machine.v2("/a", Some(500), Some(400), 100, 0);
    let limits = read_limits(machine.0.path());
    let sources: Vec<_> = limits.iter().map(|limit| (limit.limit / MIB, limit.source.of_limit())).collect();
    assert_eq!(
        sources,
        [(400, "/sys/fs/cgroup/a/memory.max"), (16384, "MemTotal in /proc/meminfo")],
        "{limits:#?}"
    );
}

#[test]
fn without_readable_files_there_is_no_limit_in_the_list() {
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(read_limits(empty.path()), []);
}

#[test]
fn v2_reads_anonymous_memory_of_the_own_cgroup() {
    let machine = Machine::new("0::/a\n", V2);
    machine.v2("/a", None, None, 10, 0);
    assert_eq!(own_anonymous(machine.0.path()), Some(3 * MIB));
}

#[test]
fn v2_skips_levels_without_the_memory_controller() {
    // The slice does not delegate memory, so the own cgroup has no memory files.
    let machine = Machine::new("0::/user.slice/a.scope\n", V2);
    machine.file("sys/fs/cgroup/user.slice/a.scope/cgroup.procs", "1\n");
    machine.v2("/user.slice", None, Some(300), 100, 0);
    machine.check(200, "/sys/fs/cgroup/user.slice/memory.max");
}

#[test]
fn v2_without_a_limit_at_any_level_the_machine_decides() {
    let machine = Machine::new("0::/a/b\n", V2);
    machine.v2("/a/b", None, None, 10, 0).v2("/a", None, None, 20, 0).check(8192, MACHINE);
}

#[test]
fn v2_active_and_inactive_files_both_count_as_free() {
    let machine = Machine::new("0::/a\n", V2);
    machine.v2("/a", None, Some(100), 90, 0);
    let stat = format!("inactive_file {}\nactive_file {}\ninactive_anon {}\n", 20 * MIB, 30 * MIB, 7 * MIB);
    machine.file("sys/fs/cgroup/a/memory.stat", &stat).check(60, "/sys/fs/cgroup/a/memory.max");
}

#[test]
fn v2_a_machine_tighter_than_the_cgroup_decides() {
    let machine = Machine::new("0::/a\n", V2);
    machine.v2("/a", None, Some(1 << 20), 0, 0).check(8192, MACHINE);
}

#[test]
fn v1_reads_a_mount_shared_with_another_controller() {
    let mount = "36 30 0:31 / /cg/cpu,memory rw - cgroup cgroup rw,cpu,memory\n";
    let machine = Machine::new("4:cpu,memory:/a\n1:name=systemd:/b\n", mount);
    machine.file("cg/cpu,memory/a/memory.limit_in_bytes", "1048576\n");
    machine.file("cg/cpu,memory/a/memory.usage_in_bytes", "0\n");
    machine.check(1, "/cg/cpu,memory/a/memory.limit_in_bytes");
}

#[test]
fn v1_in_a_container_without_a_namespace_reads_the_mount_point() {
    let mount = "36 30 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    let machine = Machine::new("4:memory:/docker/abc\n", mount);
    machine.v1("", 256 * MIB, 256 * MIB, 6, 0);
    machine.check(250, "/sys/fs/cgroup/memory/memory.limit_in_bytes");
}

#[test]
fn hybrid_reads_memory_from_version_2() {
    // Other controllers are on version 1, memory is not.
    let both = "36 30 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n31 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let machine = Machine::new("4:cpu:/x\n0::/a\n", both);
    machine.v2("/a", None, Some(64), 4, 0).check(60, "/sys/fs/cgroup/a/memory.max");
}

#[test]
fn v1_reads_anonymous_memory_of_the_own_cgroup() {
    let machine = Machine::new("4:memory:/a\n", V1);
    machine.file("sys/fs/cgroup/memory/a/memory.stat", "rss 1\ntotal_rss 4096\n");
    assert_eq!(own_anonymous(machine.0.path()), Some(4096));
}

#[test]
fn a_limit_without_a_readable_usage_leaves_zero_bytes() {
    let machine = Machine::new("0::/a\n", V2);
    machine.file("sys/fs/cgroup/a/memory.max", "1048576\n").check(0, "/sys/fs/cgroup/a/memory.max");
    let machine = Machine::new("4:memory:/a\n", V1);
    machine.file("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1048576\n");
    machine.check(0, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes");
}
