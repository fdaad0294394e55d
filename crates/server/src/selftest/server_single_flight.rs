//! However many ask first, the weights are loaded once; after a failure or a panic the next one who asks tries again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::{Outcome, embedded_model};
use crate::compute_thread;
use crate::serve::catalog::Catalog;
use crate::serve::{Loader, Model};

const CALLERS: usize = 16;
/// So that callers are sure to come while the load is under way.
const LOAD_TIME_MIN: Duration = Duration::from_millis(20);

type Loaded = Result<Arc<dyn Model>, String>;

pub fn one_load() -> Outcome {
    check(|loader| {
        let catalog = Catalog::new(&[("m".to_string(), PathBuf::new())], loader);
        move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
            let entry = catalog.find(None).map_err(|error| format!("{error:?}"))?;
            runtime.block_on(entry.get(&catalog)).map_err(|why| why.to_string())
        }
    })
}

/// `cell` is what stands between the callers and the loader.
fn check<G: Fn() -> Loaded + Send + Sync + 'static>(cell: impl FnOnce(Loader) -> G) -> Outcome {
    let expected = format!(
        "a load that fails and one that panics leave the model loadable; then {CALLERS} callers at once cause one load of the \
         model inside this file and get the same one"
    );
    match race(cell) {
        Ok((loads, same)) => {
            let found = format!("{loads} load by {CALLERS} callers, {same} got the same model");
            Outcome::judge(loads == 1 && same == CALLERS, expected, found)
        }
        Err(why) => Outcome::judge(false, expected, why),
    }
}

/// Loads of the race, and callers that got the model that the first caller got.
fn race<G: Fn() -> Loaded + Send + Sync + 'static>(
    cell: impl FnOnce(Loader) -> G,
) -> Result<(usize, usize), String> {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let loader: Loader = Arc::new(move |_, _| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Err("the first load fails on purpose".to_string()),
        // Without the panic hook: the report is no place for a message about a panic that is wanted.
        1 => std::panic::resume_unwind(Box::new("the second load panics on purpose")),
        _ => {
            std::thread::sleep(LOAD_TIME_MIN);
            Ok(Arc::new(embedded_model::open()?))
        }
    });
    let get = Arc::new(cell(loader));
    for what in ["failure", "panic"] {
        if get().is_ok() {
            return Err(format!("a load that ended with a {what} gave a model"));
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

    use super::super::Verdict;
    use super::*;

    fn load(loader: &Loader) -> Loaded {
        catch_unwind(AssertUnwindSafe(|| loader("m", Path::new("")))).unwrap_or(Err("panicked".into()))
    }

    #[test]
    fn the_real_catalog_passes() {
        let outcome = one_load();
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.found);
    }

    /// Looks, finds nothing, loads: what the server of the incident did.
    #[test]
    fn callers_who_each_load_for_themselves_are_caught() {
        let outcome = check(|loader| {
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
        assert_eq!(outcome.verdict, Verdict::Fail, "{}", outcome.found);
        assert!(!outcome.found.starts_with("1 load"), "{}", outcome.found);
    }

    #[test]
    fn a_cell_that_keeps_its_first_failure_is_caught() {
        let outcome = check(|loader| {
            let cell = std::sync::OnceLock::<Loaded>::new();
            move || cell.get_or_init(|| load(&loader)).clone()
        });
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.found.contains("on purpose"), "{}", outcome.found);
    }
}
