use super::*;

fn matrix(data: &[f32], stride: usize, transpose: Transpose) -> Matrix<'_> {
    Matrix { data, stride, transpose }
}

/// Small integers: products and sums are exact in f32, so results can be compared exactly.
fn integers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7 + seed) % 11) as f32 - 5.0).collect()
}

#[test]
fn sgemm_equals_the_definition_for_every_transposition() {
    for (m, n, k) in [(1, 1, 1), (3, 5, 7), (17, 33, 65), (64, 128, 96)] {
        for ta in [Transpose::No, Transpose::Yes] {
            for tb in [Transpose::No, Transpose::Yes] {
                let (sa, sb, sc) = (m.max(k) + 3, n.max(k) + 1, n + 2);
                let (a, b) = (integers(m.max(k) * sa, 1), integers(n.max(k) * sb, 2));
                let mut c = integers(m * sc, 3);
                let before = c.clone();
                sgemm(m, n, k, 2.0, matrix(&a, sa, ta), matrix(&b, sb, tb), 1.0, &mut c, sc);
                for row in 0..m {
                    for column in 0..sc {
                        let at = row * sc + column;
                        let expected = if column >= n {
                            before[at] // the gap between rows must not change
                        } else {
                            let product = |p: usize| {
                                let x = if ta == Transpose::No { a[row * sa + p] } else { a[p * sa + row] };
                                let y =
                                    if tb == Transpose::No { b[p * sb + column] } else { b[column * sb + p] };
                                x * y
                            };
                            2.0 * (0..k).map(product).sum::<f32>() + before[at]
                        };
                        assert_eq!(c[at], expected, "{m}x{n}x{k} {ta:?} {tb:?} at ({row}, {column})");
                    }
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "sgemm: b has 5 elements")]
fn rejects_an_operand_that_is_too_short() {
    let mut c = [0.0; 4];
    sgemm(
        2,
        2,
        3,
        1.0,
        matrix(&[0.0; 6], 3, Transpose::No),
        matrix(&[0.0; 5], 2, Transpose::No),
        0.0,
        &mut c,
        2,
    );
}

#[test]
#[should_panic(expected = "sgemm: c has stride 1")]
fn rejects_a_stride_below_the_row_length() {
    let mut c = [0.0; 4];
    sgemm(
        2,
        2,
        1,
        1.0,
        matrix(&[0.0; 2], 1, Transpose::No),
        matrix(&[0.0; 2], 2, Transpose::No),
        0.0,
        &mut c,
        1,
    );
}

#[test]
fn reports_version_integer_width_core_and_threading_model() {
    let config = config();
    assert!(config.starts_with("OpenBLAS 0.3."), "{config}");
    assert!(!config.contains("USE64BITINT"), "blasint must be int: {config}");
    assert!(!core_name().is_empty());
    assert_eq!(parallel(), Parallel::Threads);
    assert!(num_processors() >= 1);
}

/// The library writes its text in several steps into one buffer.
#[test]
fn concurrent_callers_read_a_complete_configuration() {
    let expected = config();
    assert!(expected.ends_with(&format!("MAX_THREADS={}", threads_max())), "{expected}");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..20_000).for_each(|_| assert_eq!(config(), expected)));
        }
    });
}

#[test]
fn no_worker_runs_before_the_program_sets_a_thread_count() {
    let names = std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
        std::fs::read_to_string(task.unwrap().path().join("comm")).ok() // a thread can end meanwhile
    });
    // nextest runs each test in a process of its own.
    assert_eq!(names.filter(|name| name.starts_with("oblas-")).count(), 0);
    assert_eq!(num_threads(), 1);
}

#[test]
fn an_unknown_kernel_set_is_refused_and_changes_nothing() {
    let before = core_name();
    // SAFETY: no other thread of this process calls the library; the name selects nothing.
    assert_eq!(unsafe { set_core(c"Abacus") }, Err(UnknownCore));
    assert_eq!(core_name(), before);
}

#[test]
fn sets_the_thread_count() {
    set_num_threads(1);
    assert_eq!(num_threads(), 1);
}
