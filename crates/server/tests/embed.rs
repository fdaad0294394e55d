//! `inferd embed`: valid and invalid input, damaged model folders, readers that close the pipe.

mod run_inferd;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use run_inferd::{Finished, fixtures, inferd, run, run_with_stdin, tiny_bert};
use serde_json::Value;

fn embed() -> Command {
    let mut command = inferd();
    command.arg("embed").arg("--model").arg(tiny_bert());
    command
}

fn vectors(ran: &Finished) -> Vec<Vec<f32>> {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr, "");
    let mut vectors = Vec::new();
    for (index, line) in ran.stdout.lines().enumerate() {
        let json: Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["index"], index);
        assert_eq!(json.as_object().unwrap().len(), 2);
        vectors
            .push(json["embedding"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect());
    }
    vectors
}

/// Requires exit code 2, a diagnostic with `parts`, an empty stdout, and no panic.
#[track_caller]
fn check_failure(ran: &Finished, parts: &[&str]) {
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("error["), "{}", ran.stderr);
    assert!(!ran.stderr.contains("this is a bug"), "{}", ran.stderr);
    for part in parts {
        assert!(ran.stderr.contains(part), "`{part}` is missing in:\n{}", ran.stderr);
    }
    assert_eq!(ran.stdout, "");
}

struct Golden {
    text: String,
    vector: Vec<f32>,
}

fn goldens() -> Vec<Golden> {
    let json: Value =
        serde_json::from_slice(&fs::read(fixtures().join("goldens/tiny-bert.json")).unwrap()).unwrap();
    let floats: Vec<f32> = fs::read(fixtures().join("goldens/tiny-bert.f32"))
        .unwrap()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let dimension = json["dimension"].as_u64().unwrap() as usize;
    let golden = |text: &Value| {
        let start = text["vector"].as_u64().unwrap() as usize;
        Golden {
            text: text["text"].as_str().unwrap().to_string(),
            vector: floats[start..start + dimension].to_vec(),
        }
    };
    json["texts"].as_array().unwrap().iter().map(golden).collect()
}

#[test]
fn vectors_of_arguments_equal_the_reference() {
    let goldens = goldens();
    let ran = run(embed().arg("--").args(goldens.iter().map(|golden| &golden.text)));
    let vectors = vectors(&ran);
    assert_eq!(vectors.len(), goldens.len());
    for (golden, vector) in goldens.iter().zip(&vectors) {
        let worst = golden.vector.iter().zip(vector).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(golden.vector.len() == vector.len() && worst < 1e-5, "{:?}: {worst}", golden.text);
    }
}

#[test]
fn stdin_and_arguments_give_equal_output() {
    let texts = ["the quick brown fox", "", "jumps", ""];
    let arguments = run(embed().arg("--").args(texts));
    assert_eq!(vectors(&arguments).len(), 4);
    for input in ["the quick brown fox\n\njumps\n\n", "the quick brown fox\r\n\r\njumps\r\n\r\n"] {
        assert_eq!(run_with_stdin(&mut embed(), input.as_bytes()).stdout, arguments.stdout);
    }
}

#[test]
fn a_final_newline_begins_no_text_and_no_input_gives_no_line() {
    assert_eq!(vectors(&run_with_stdin(&mut embed(), b"fox")).len(), 1);
    assert_eq!(vectors(&run_with_stdin(&mut embed(), b"fox\n")).len(), 1);
    assert_eq!(vectors(&run_with_stdin(&mut embed(), b"\n")).len(), 1);
    assert_eq!(vectors(&run_with_stdin(&mut embed(), b"")).len(), 0);
    // An empty list after `--` must not wait for stdin.
    assert_eq!(vectors(&run(embed().arg("--"))).len(), 0);
}

#[test]
fn the_index_continues_across_batches() {
    let input: String = (0..300).map(|number| format!("fox {number}\n")).collect();
    assert_eq!(vectors(&run_with_stdin(&mut embed(), input.as_bytes())).len(), 300);
}

#[test]
fn rounds_print_one_time_each_and_no_vectors() {
    let input: String = (0..100).map(|number| format!("fox {number}\n")).collect();
    let ran = run_with_stdin(embed().args(["--rounds", "3"]), input.as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["round"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(lines.iter().all(|line| line["seconds"].as_f64().unwrap() > 0.0), "{}", ran.stdout);
    let ran = run(embed().args(["--rounds", "0", "--", "fox"]));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
}

#[test]
fn the_thread_count_does_not_change_the_vectors() {
    let one = vectors(&run(embed().args(["--threads", "1", "--", "the lazy dog", "fox"])));
    let four = vectors(&run(embed().args(["--threads", "4", "--", "the lazy dog", "fox"])));
    for (a, b) in one.iter().flatten().zip(four.iter().flatten()) {
        assert!((a - b).abs() < 1e-5);
    }
}

#[test]
fn a_writer_that_pauses_receives_its_vectors() {
    let mut child = embed().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut responses = BufReader::new(child.stdout.take().unwrap()).lines();
    for index in 0..3 {
        stdin.write_all(b"the quick fox\n").unwrap();
        let line = responses.next().unwrap().unwrap();
        assert!(line.starts_with(&format!("{{\"index\":{index},")), "{line}");
    }
    drop(stdin);
    assert!(responses.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn invalid_utf8_on_stdin_is_reported_after_the_vectors_of_earlier_lines() {
    let ran = run_with_stdin(&mut embed(), b"fox\ndog\nba\xffd\nfox\n");
    assert_eq!(ran.code, Some(2));
    assert_eq!(ran.stdout.lines().count(), 2);
    insta::assert_snapshot!(ran.stderr, @r"
    error[invalid-input]: line 3 of stdin is not valid UTF-8: the first bad byte is byte 3 of the line
    hint: convert the input, for example with `iconv -t UTF-8`
    ");
}

#[test]
fn reports_the_argument_with_invalid_utf8() {
    let ran = run(embed().arg("--").arg("fox").arg(OsStr::from_bytes(b"\xff")));
    check_failure(&ran, &["text 1 (counted from 0) of the arguments is not valid UTF-8"]);
}

#[test]
fn rejects_a_line_above_the_limit() {
    let ran = run_with_stdin(&mut embed(), &vec![b'x'; 3 << 20]);
    check_failure(&ran, &["line 1 of stdin is longer than 1024 KiB", "hint: "]);
}

#[test]
fn truncates_a_text_above_the_limit_of_the_model() {
    let long = "fox ".repeat(5000);
    assert_eq!(vectors(&run_with_stdin(&mut embed(), long.as_bytes())).len(), 1);
}

#[test]
fn a_reader_that_closes_the_pipe_is_not_an_error() {
    let mut child =
        embed().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || while stdin.write_all(b"fox\n").is_ok() {});
    let ran: Finished = child.wait_with_output().unwrap().into();
    feeder.join().unwrap();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn reports_a_full_disk() {
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for command in [embed().args(["--", "fox"]), inferd().arg("--version"), inferd().arg("--help")] {
        let ran: Finished = command.stdin(Stdio::null()).stdout(full()).output().unwrap().into();
        check_failure(&ran, &["cannot write to stdout", "No space left on device", "hint: "]);
    }
}

#[test]
fn a_failed_write_to_stderr_does_not_panic() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let status = inferd()
        .args(["embed", "--model", "/does/not/exist"])
        .stdin(Stdio::null())
        .stderr(full)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn usage_errors_exit_with_2() {
    for args in [
        &[][..],
        &["embed"],
        &["embde"],
        &["embed", "--model", "m", "--threads", "0", "--", "x"],
        &["embed", "--model", "m", "--threads", "many", "--", "x"],
        &["embed", "--model", "m", "a text without the dashes"],
        &["selftest", "--child", "unknown"],
    ] {
        let ran = run(inferd().args(args));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}: {}", ran.stderr);
    }
}

/// A copy of tiny-bert with a change.
fn damaged(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&tiny_bert(), copy.path());
    change(copy.path());
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn replace_in_file(file: &Path, old: &str, new: &str) {
    let bytes = fs::read(file).unwrap();
    let at =
        bytes.windows(old.len()).position(|window| window == old.as_bytes()).expect("the text to replace");
    fs::write(file, [&bytes[..at], new.as_bytes(), &bytes[at + old.len()..]].concat()).unwrap();
}

#[track_caller]
fn check_model(change: impl FnOnce(&Path), parts: &[&str]) {
    let folder = damaged(change);
    check_failure(&run(inferd().arg("embed").arg("--model").arg(folder.path()).args(["--", "fox"])), parts);
}

#[test]
fn reports_a_missing_folder_and_a_file_in_its_place() {
    let ran = run(inferd().args(["embed", "--model", "/does/not/exist", "--", "fox"]));
    check_failure(&ran, &["/does/not/exist", "hint: "]);
    let ran = run(inferd().args(["embed", "--model", "/dev/null", "--", "fox"]));
    check_failure(&ran, &["/dev/null"]);
}

#[test]
fn reports_each_missing_file() {
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        check_model(|folder| fs::remove_file(folder.join(file)).unwrap(), &[file]);
    }
}

#[test]
fn reports_a_missing_tensor() {
    let name = "embeddings.word_embeddings.weight";
    check_model(
        |folder| replace_in_file(&folder.join("model.safetensors"), name, &name.replace("word", "lost")),
        &[name, "model.safetensors"],
    );
}

#[test]
fn reports_the_expected_and_the_found_shape_of_a_tensor() {
    check_model(
        |folder| {
            replace_in_file(&folder.join("model.safetensors"), "\"shape\":[32,128]", "\"shape\":[128,32]");
        },
        &["model.safetensors", "[32, 128]", "[128, 32]"],
    );
}

#[test]
fn rejects_weights_truncated_at_any_length() {
    let whole = fs::read(tiny_bert().join("model.safetensors")).unwrap();
    for len in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        check_model(
            |folder| fs::write(folder.join("model.safetensors"), &whole[..len]).unwrap(),
            &["model.safetensors"],
        );
    }
}

#[test]
fn reports_the_file_that_holds_garbage() {
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        for garbage in [&b""[..], b"{", b"[]", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", b"null"] {
            check_model(|folder| fs::write(folder.join(file), garbage).unwrap(), &[file]);
        }
    }
}
