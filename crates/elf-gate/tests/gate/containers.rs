//! ELF files inside of archives, and hostile archives.

use std::io::Write;
use std::time::{Duration, Instant};

use elf_gate::containers::{Content, WalkLimits, walk};
use flate2::{Compression, write::GzEncoder};

use crate::fixtures::fixture;

/// The reported contents, one line each.
fn found(bytes: &[u8], limits: &WalkLimits) -> Vec<String> {
    let mut lines = Vec::new();
    walk("in", bytes, limits, &mut |name, content| {
        lines.push(match content {
            Content::Elf(bytes) => format!("{name} elf {}", bytes.len()),
            Content::Other => format!("{name} other"),
            Content::Unsupported(format) => format!("{name} {format}"),
            Content::Unreadable(error) => {
                assert!(error.fields().hint.is_some(), "{error}");
                format!("{name} unreadable: {}: {error}", error.code().id)
            }
        });
    });
    lines
}

#[track_caller]
fn check(bytes: &[u8], expected: &[&str]) {
    assert_eq!(found(bytes, &WalkLimits::default()), expected);
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// In the format of GNU ar, with long names in a separate table.
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = Vec::new();
    let mut body = Vec::new();
    for (name, bytes) in members {
        let short = match name.len() {
            0..=15 => format!("{name}/"),
            _ => {
                let at = names.len();
                names.extend_from_slice(format!("{name}/\n").as_bytes());
                format!("/{at}")
            }
        };
        body.extend_from_slice(
            format!("{short:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, bytes.len()).as_bytes(),
        );
        body.extend_from_slice(bytes);
        if bytes.len() % 2 == 1 {
            body.push(b'\n');
        }
    }
    let mut out = b"!<arch>\n".to_vec();
    if !names.is_empty() {
        out.extend_from_slice(format!("{:<48}{:<10}`\n", "//", names.len()).as_bytes());
        if names.len() % 2 == 1 {
            names.push(b'\n');
        }
        out.extend_from_slice(&names);
    }
    out.extend_from_slice(&body);
    out
}

#[test]
fn reports_plain_files_by_format() {
    check(&fixture("stripped"), &[&format!("in elf {}", fixture("stripped").len())]);
    check(b"", &["in other"]);
    check(b"text", &["in other"]);
    check(&[0; 1024], &["in other"]);
    check(b"BZh91AY&SY", &["in bzip2"]);
}

#[test]
fn reports_members_of_static_libraries() {
    let object = fixture("object.o");
    let size = object.len();
    let library = ar(&[("a.o", &object), ("a_name_longer_than_fifteen.o", &object), ("notes", b"odd")]);
    check(
        &library,
        &[
            &format!("in(a.o) elf {size}"),
            &format!("in(a_name_longer_than_fifteen.o) elf {size}"),
            "in(notes) other",
        ],
    );
    check(b"!<arch>\n", &[]);
    check(
        b"!<thin>\n",
        &["in unreadable: unsupported-format: a thin archive: its members are in other files"],
    );
    let cut = &library[..library.len() - 10];
    insta::assert_snapshot!(found(cut, &WalkLimits::default()).join("\n"), @"
    in(a.o) elf 7344
    in(a_name_longer_than_fifteen.o) elf 7344
    in unreadable: container-damaged: ar archive: Invalid archive member header
    ");
}

#[test]
fn reads_tar_files_and_images_with_nested_layers() {
    let program = fixture("packed-nrv2b");
    let size = program.len();
    let long = format!("{}/program", "folder/".repeat(30).trim_end_matches('/'));
    let layer = tar(&[("usr/bin/program", &program), (&long, &program), ("etc/passwd", b"root")]);
    let image = tar(&[
        ("blobs/sha256/aa", &gzip(&layer)),
        ("blobs/sha256/bb", &layer),
        ("index.json", b"{}"),
        ("blobs/sha256/cc", b"BZh91AY&SY"),
    ]);
    let expected: Vec<String> = [
        format!("!blobs/sha256/aa!usr/bin/program elf {size}"),
        format!("!blobs/sha256/aa!{long} elf {size}"),
        "!blobs/sha256/aa!etc/passwd other".into(),
        format!("!blobs/sha256/bb!usr/bin/program elf {size}"),
        format!("!blobs/sha256/bb!{long} elf {size}"),
        "!blobs/sha256/bb!etc/passwd other".into(),
        "!index.json other".into(),
        "!blobs/sha256/cc unreadable: unsupported-format: the layer is compressed by bzip2".into(),
    ]
    .iter()
    .map(|line| format!("in{line}"))
    .collect();
    assert_eq!(found(&image, &WalkLimits::default()), expected);
    assert_eq!(found(&gzip(&image), &WalkLimits::default()), expected);
}

/// Two frames with checksums, and a skippable frame between them.
#[test]
fn reads_zstd_streams_of_several_frames() {
    let frame = |bytes: &[u8]| {
        // Raw blocks with headers of 3 bytes; single segment, 4 bytes of size, a checksum.
        let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1010_0100];
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        let blocks: Vec<&[u8]> = bytes.chunks(100_000).collect();
        for (index, block) in blocks.iter().enumerate() {
            let is_last = u32::from(index + 1 == blocks.len());
            out.extend_from_slice(&((block.len() as u32) << 3 | is_last).to_le_bytes()[..3]);
            out.extend_from_slice(block);
        }
        out.extend_from_slice(&xxh64_low(bytes).to_le_bytes());
        out
    };
    let tar = tar(&[("bin/program", &fixture("stripped"))]);
    let (first, second) = tar.split_at(700);
    let mut whole = frame(first);
    whole.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    whole.extend_from_slice(&frame(second));
    let found_in = |bytes: &[u8]| found(bytes, &WalkLimits::default());
    let expected = [format!("in!bin/program elf {}", fixture("stripped").len())];
    assert_eq!(found_in(&whole), expected);
    let mut wrong_sum = whole.clone();
    *wrong_sum.last_mut().unwrap() ^= 1;
    insta::assert_snapshot!(found_in(&wrong_sum).join("\n"), @"
    in!bin/program elf 14840
    in unreadable: container-damaged: tar: zstd: the checksum of a frame is wrong
    ");
    let cuts = [whole.len() - 2, whole.len() / 2, first.len() + 20];
    let cuts =
        cuts.map(|cut| format!("cut to {cut} of {}:\n{}\n", whole.len(), found_in(&whole[..cut]).join("\n")));
    insta::assert_snapshot!(cuts.concat(), @r#"
    cut to 16425 of 16427:
    in!bin/program unreadable: container-damaged: zstd: Failed to read checksum: failed to fill whole buffer
    in unreadable: container-damaged: tar: zstd: Failed to parse/decode block body: Error while reading the block header
    cut to 8213 of 16427:
    in!bin/program unreadable: container-damaged: zstd: Failed to parse block header: Error while reading bytes for Raw: failed to fill whole buffer
    in unreadable: container-damaged: tar: zstd: Failed to parse/decode block body: Error while reading the block header
    cut to 720 of 16427:
    in!bin/program unreadable: container-damaged: zstd: FrameDescriptorReadError(Error { kind: UnexpectedEof, message: "failed to fill whole buffer" })
    in unreadable: container-damaged: tar: unexpected EOF during skip
    "#);
}

#[test]
fn identifies_files_that_upper_layers_hide() {
    let program = fixture("stripped");
    let p = &program[..];
    let lower = tar(&[
        ("bin/kept", p),
        ("./bin/gone", p),
        ("bin/new", p),
        ("opt/a/b", p),
        ("var/x", p),
        ("lib", b""),
    ]);
    let middle = tar(&[("bin/.wh.gone", b""), ("bin/new", p), ("opt/a/.wh..wh..opq", b""), ("opt/a/c", p)]);
    let upper = tar(&[(".wh.var", b""), ("etc/x", b"text")]);
    let expected = [
        ("in!blobs/sha256/aa!bin/gone", "deleted in layer 2 of 3"),
        ("in!blobs/sha256/aa!bin/new", "replaced in layer 2 of 3"),
        ("in!blobs/sha256/aa!opt/a/b", "deleted in layer 2 of 3"),
        ("in!blobs/sha256/aa!var/x", "deleted in layer 3 of 3"),
    ];
    let layers: [(&str, &[u8]); 3] =
        [("blobs/sha256/bb", &gzip(&middle)), ("blobs/sha256/aa", &lower), ("blobs/sha256/cc", &upper)];
    let oci: [(&str, &[u8]); 2] = [
        ("index.json", br#"{"manifests": [{"digest": "sha256:dd"}]}"#),
        (
            "blobs/sha256/dd",
            br#"{"config": {}, "layers": [{"digest": "sha256:aa"}, {"digest": "sha256:bb"}, {"digest": "sha256:cc"}]}"#,
        ),
    ];
    let docker: [(&str, &[u8]); 1] = [(
        "manifest.json",
        br#"[{"Config": "c", "Layers": ["blobs/sha256/aa", "blobs/sha256/bb", "blobs/sha256/cc"]}]"#,
    )];
    let hidden = |parts: &[(&str, &[u8])]| {
        let mut visible = 0;
        let hidden = walk("in", &tar(parts), &WalkLimits::default(), &mut |_, content| {
            visible += usize::from(matches!(content, Content::Elf(_)));
        })
        .hidden;
        assert_eq!(visible, 7, "all of them are shipped, so all are reported");
        hidden.iter().map(|hidden| (hidden.name.clone(), hidden.to_string())).collect::<Vec<_>>()
    };
    for image in [[&oci[..], &layers].concat(), [&layers[..], &docker].concat()] {
        let hidden = hidden(&image);
        assert_eq!(hidden.len(), expected.len(), "{hidden:?}");
        for ((name, why), (expected_name, expected_why)) in hidden.iter().zip(expected) {
            assert_eq!(name, expected_name);
            assert!(why.starts_with(expected_why), "{why}");
        }
    }
    // A second image without the upper layers shows the files; without manifests the order of layers is unknown.
    let alone: [(&str, &[u8]); 1] = [("manifest.json", br#"[{"Layers": ["blobs/sha256/aa"]}]"#)];
    assert_eq!(hidden(&[&oci[..], &layers, &alone].concat()), []);
    assert_eq!(hidden(&layers), []);
}

#[test]
fn reports_damaged_archives() {
    let program = fixture("stripped");
    let whole = gzip(&tar(&[("a", &program), ("b", &program)]));
    let lines = |bytes: &[u8]| found(bytes, &WalkLimits::default()).join("\n");
    let cuts = [whole.len() / 2, whole.len() - 20].map(|cut| lines(&whole[..cut]));
    insta::assert_snapshot!(cuts.join("\n"), @"
    in!a unreadable: container-damaged: incomplete deflate stream
    in unreadable: container-damaged: tar: incomplete deflate stream
    in!a elf 14840
    in!b unreadable: container-damaged: incomplete deflate stream
    in unreadable: container-damaged: tar: incomplete deflate stream
    ");
    // The checksum of the stream, after the last entry.
    let mut wrong_sum = whole.clone();
    let at = whole.len() - 8;
    wrong_sum[at] ^= 1;
    insta::assert_snapshot!(lines(&wrong_sum), @"
    in!a elf 14840
    in!b elf 14840
    in unreadable: container-damaged: tar: corrupt gzip stream does not have a matching checksum
    ");
    let hidden = [tar(&[("a", &program)]), tar(&[("b", &program)])].concat();
    assert_eq!(
        found(&hidden, &WalkLimits::default())[1],
        "in unreadable: container-damaged: tar: bytes follow its end mark"
    );
    let mut plain = tar(&[("a", &program), ("b", &program)]);
    let second = 512 + program.len().next_multiple_of(512);
    plain[second + 20] ^= 1;
    insta::assert_snapshot!(lines(&plain), @"
    in!a elf 14840
    in unreadable: container-damaged: tar: archive header checksum mismatch
    ");
}

#[test]
fn reports_sparse_members_as_unsupported() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("GNU.sparse.major", "1".as_bytes())]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(4);
    builder.append_data(&mut header, "s", &b"\x7fELF"[..]).unwrap();
    let lines = found(&builder.into_inner().unwrap(), &WalkLimits::default());
    assert_eq!(lines, ["in!s unreadable: unsupported-format: the entry is sparse"]);
}

#[test]
fn decompression_bombs_cost_bounded_time() {
    let start = Instant::now();
    let limits =
        WalkLimits { decompressed_bytes_max: 64 << 20, member_bytes_max: 1 << 20, ..WalkLimits::default() };
    // A gzip stream of one MiB whose tar header declares an ELF file of 1 GiB.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    let mut header = tar::Header::new_gnu();
    header.set_path("bomb").unwrap();
    header.set_size(1 << 30);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).unwrap();
    bomb.write_all(b"\x7fELF").unwrap();
    for _ in 0..256 {
        bomb.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let lines = found(&bomb, &limits);
    insta::assert_snapshot!(lines.join("\n"), @"
    in!bomb unreadable: decompressed-limit: larger than 1048576 bytes
    in unreadable: decompressed-limit: tar: more decompressed bytes than allowed
    ");
    // The same bytes as a name.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    let mut name = GzEncoder::new(Vec::new(), Compression::fast());
    name.write_all(header.as_bytes()).unwrap();
    for _ in 0..100 {
        name.write_all(&vec![b'a'; 1 << 20]).unwrap();
    }
    let lines = found(&name.finish().unwrap(), &limits);
    assert_eq!(lines, ["in unreadable: decompressed-limit: tar: attributes of more than 1048576 bytes"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn bounds_nesting_and_number_of_entries() {
    let mut nested = fixture("stripped");
    for _ in 0..20 {
        nested = gzip(&nested);
    }
    assert_eq!(
        found(&nested, &WalkLimits::default()),
        ["in unreadable: container-limit: containers are nested more than 8 deep"]
    );
    let mut nested = fixture("stripped");
    for _ in 0..20 {
        nested = ar(&[("a", &nested)]);
    }
    let lines = found(&nested, &WalkLimits::default());
    assert!(
        lines[0].ends_with("unreadable: container-limit: containers are nested more than 8 deep"),
        "{lines:?}"
    );
    let many: Vec<(&str, &[u8])> = (0..100).map(|_| ("x", &b""[..])).collect();
    let lines = found(&tar(&many), &WalkLimits { entries_max: 50, ..WalkLimits::default() });
    assert_eq!(lines.len(), 51);
    assert_eq!(lines[50], "in unreadable: container-limit: more than 50 entries");
}

/// The lower half of XXH64, the checksum of a zstd frame.
fn xxh64_low(bytes: &[u8]) -> u32 {
    const P: [u64; 5] = [
        0x9e37_79b1_85eb_ca87,
        0xc2b2_ae3d_27d4_eb4f,
        0x1656_67b1_9e37_79f9,
        0x85eb_ca77_c2b2_ae63,
        0x27d4_eb2f_1656_67c5,
    ];
    let round = |lane: u64, input: u64| {
        lane.wrapping_add(input.wrapping_mul(P[1])).rotate_left(31).wrapping_mul(P[0])
    };
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let mut rest = bytes;
    let mut hash = P[4];
    if rest.len() >= 32 {
        let mut lanes = [P[0].wrapping_add(P[1]), P[1], 0, 0_u64.wrapping_sub(P[0])];
        while rest.len() >= 32 {
            for (index, lane) in lanes.iter_mut().enumerate() {
                *lane = round(*lane, word(&rest[8 * index..]));
            }
            rest = &rest[32..];
        }
        hash = [1, 7, 12, 18]
            .iter()
            .zip(lanes)
            .fold(0, |sum: u64, (by, lane)| sum.wrapping_add(lane.rotate_left(*by)));
        for lane in lanes {
            hash = (hash ^ round(0, lane)).wrapping_mul(P[0]).wrapping_add(P[3]);
        }
    }
    hash = hash.wrapping_add(bytes.len() as u64);
    while rest.len() >= 8 {
        hash = (hash ^ round(0, word(rest))).rotate_left(27).wrapping_mul(P[0]).wrapping_add(P[3]);
        rest = &rest[8..];
    }
    if rest.len() >= 4 {
        let word = u64::from(u32::from_le_bytes(rest[..4].try_into().unwrap()));
        hash = (hash ^ word.wrapping_mul(P[0])).rotate_left(23).wrapping_mul(P[1]).wrapping_add(P[2]);
        rest = &rest[4..];
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P[4])).rotate_left(11).wrapping_mul(P[0]);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(P[1]);
    hash = (hash ^ hash >> 29).wrapping_mul(P[2]);
    (hash ^ hash >> 32) as u32
}
