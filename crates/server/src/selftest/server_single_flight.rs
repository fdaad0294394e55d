//! Concurrent first requests load the weights once. After a failure or a panic the next request loads again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use diag::Diagnostic;

use super::check::CheckResult;
use super::embedded_model;
use crate::serve::catalog::Catalog;
use crate::serve::{Loader, Model};
use crate::{codes, compute_thread};

const CALLERS: usize = 16;
/// Long enough for all callers to arrive during the load.
const LOAD_TIME_MIN: Duration = Duration::from_millis(20);

type Loaded = Result<Arc<dyn Model>, String>;

/// The check.
pub fn one_load() -> CheckResult {
    check(|loader| {
        let catalog = Catalog::new(&[("m".to_string(), PathBuf::new())], loader);
        move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
            let entry = catalog.find(None).map_err(|error| error.to_string())?;
            runtime.block_on(entry.get(&catalog)).map_err(|error| error.to_string())
        }
    })
}

/// `cell` connects the callers and the loader.
fn check<G: Fn() -> Loaded + Send + Sync + 'static>(cell: impl FnOnce(Loader) -> G) -> CheckResult {
    let expected = format!(
        "after a load that fails and one that panics the model can be loaded; then {CALLERS} concurrent callers cause one load of \
         the embedded model and get the same instance"
    );
    match race(cell) {
        Ok((loads, same)) => {
            let found = format!("{loads} load for {CALLERS} callers, {same} got the same instance");
            CheckResult::of(loads == 1 && same == CALLERS, expected, found)
        }
        Err(found) => CheckResult::of(false, expected, found),
    }
}

/// Number of loads, and number of callers that got the same instance as the first one.
fn race<G: Fn() -> Loaded + Send + Sync + 'static>(
    cell: impl FnOnce(Loader) -> G,
) -> Result<(usize, usize), String> {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let loader: Loader = Arc::new(move |_, _| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Err(Diagnostic::new(&codes::MODEL_UNUSABLE, "the first load fails on purpose")),
        // Without the panic hook, which would print a message about an intended panic.
        1 => std::panic::resume_unwind(Box::new("the second load panics on purpose")),
        _ => {
            std::thread::sleep(LOAD_TIME_MIN);
            let model = embedded_model::open();
            let model = model.map_err(|error| Diagnostic::new(&codes::MODEL_UNUSABLE, error))?;
            Ok(Arc::new(model))
        }
    });
    let get = Arc::new(cell(loader));
    for what in ["failure", "panic"] {
        if get().is_ok() {
            return Err(format!("a load that ended with a {what} returned a model"));
        }
    }

    let start = Arc::new(Barrier::new(CALLERS));
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let (get, start) = (Arc::clone(&get), Arc::clone(&start));
        let call = move || {
            start.wait();
            get()
        };
        callers.push(compute_thread::spawn(call).map_err(|error| format!("cannot start a caller: {error}"))?);
    }
    let mut models = Vec::new();
    for caller in callers {
        models.push(caller.join().map_err(|_| "a caller panicked".to_string())??);
    }
    let same = models.iter().filter(|model| Arc::ptr_eq(model, &models[0])).count();
    Ok((attempts.load(Ordering::SeqCst) - 2, same))
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    use super::super::check::CheckStatus;
    use super::*;

    fn load(loader: &Loader) -> Loaded {
        let loaded = catch_unwind(AssertUnwindSafe(|| loader("m", Path::new(""))));
        loaded.map_or(Err("panicked".into()), |loaded| loaded.map_err(|error| error.to_string()))
    }

    #[test]
    fn passes_for_the_real_catalog() {
        let result = one_load();
        assert_eq!(result.status, CheckStatus::Pass, "{}", result.found);
    }

    /// Checks, finds no value, loads: each concurrent caller does so.
    #[test]
    fn fails_for_a_load_per_caller() {
        let result = check(|loader| {
            let cell = Mutex::new(None::<Arc<dyn Model>>);
            move || {
                let lock = || cell.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(model) = lock().clone() {
                    return Ok(model);
                }
                let model = load(&loader)?;
                *lock() = Some(Arc::clone(&model));
                Ok(model)
            }
        });
        assert_eq!(result.status, CheckStatus::Fail, "{}", result.found);
        assert!(!result.found.starts_with("1 load"), "{}", result.found);
    }

    #[test]
    fn fails_for_a_cell_that_keeps_its_first_error() {
        let result = check(|loader| {
            let cell = std::sync::OnceLock::<Loaded>::new();
            move || cell.get_or_init(|| load(&loader)).clone()
        });
        assert_eq!(result.status, CheckStatus::Fail);
        insta::assert_snapshot!(result.found, @"the first load fails on purpose");
    }
}
