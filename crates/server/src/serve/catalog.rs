//! The models by name. A reload replaces the whole list at once. A request keeps the entry that it found, and the lock
//! is held only to copy a pointer.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use diag::Diagnostic;

use super::model::Model;
use super::single_flight::SingleFlight;

/// Opens the model with this name from this folder. Runs on its own thread.
pub type Loader = Arc<dyn Fn(&str, &Path) -> Result<Arc<dyn Model>, Diagnostic> + Send + Sync>;

/// One model.
pub struct CatalogEntry {
    name: String,
    dir: PathBuf,
    /// Creation of this entry, in seconds since 1970.
    created: u64,
    cell: SingleFlight<Arc<dyn Model>>,
    /// Set by the first load that succeeds; there is no second one, because a reload creates a new entry.
    load_time: Arc<OnceLock<Duration>>,
}

type Snapshot = Arc<[Arc<CatalogEntry>]>;

/// All models.
pub struct Catalog {
    loader: Loader,
    snapshot: Mutex<Snapshot>,
}

/// No model matches the name of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupError {
    /// The request names no model, and there are several.
    NameMissing,
    /// No model has this name.
    NotFound { name: String, known: Vec<String> },
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameMissing => f.write_str("`model` is missing"),
            Self::NotFound { name, known } => {
                write!(f, "there is no model `{name}`; available: `{}`", known.join("`, `"))
            }
        }
    }
}

impl Catalog {
    /// Models by name and folder. None is loaded.
    pub fn new(models: &[(String, PathBuf)], loader: Loader) -> Self {
        Self { loader, snapshot: Mutex::new(entries(models)) }
    }

    /// The present entries.
    pub fn entries(&self) -> Snapshot {
        Arc::clone(&self.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The entry with this name. Without a name: the only entry.
    pub fn find(&self, name: Option<&str>) -> Result<Arc<CatalogEntry>, LookupError> {
        let entries = self.entries();
        let found = match (name, &*entries) {
            (None, [only]) => Some(only),
            (None, _) => return Err(LookupError::NameMissing),
            (Some(name), entries) => entries.iter().find(|entry| entry.name == name),
        };
        found.cloned().ok_or_else(|| LookupError::NotFound {
            // A name of the client can be as long as a body.
            name: super::http::cut(name.unwrap_or_default()).into_owned(),
            known: entries.iter().map(|entry| entry.name.clone()).collect(),
        })
    }

    /// The name of a loaded model whose files have changed since.
    pub fn changed(&self) -> Option<String> {
        let entries = self.entries();
        let changed = entries
            .iter()
            .find(|entry| entry.cell.ready().is_some_and(|model| model.check_weights().is_err()));
        changed.map(|entry| entry.name.clone())
    }

    /// Loads every model.
    pub async fn load_all(&self) -> Result<(), Diagnostic> {
        for entry in self.entries().iter() {
            entry.get(self).await?;
        }
        Ok(())
    }

    /// Loads the models again and then replaces all entries. Requests that have begun finish with their old models.
    /// After an error the old entries stay.
    pub async fn reload(&self) -> Result<(), Diagnostic> {
        let old = self.entries();
        let models: Vec<_> = old.iter().map(|entry| (entry.name.clone(), entry.dir.clone())).collect();
        let new = Self { loader: Arc::clone(&self.loader), snapshot: Mutex::new(entries(&models)) };
        for (old, new_entry) in old.iter().zip(new.entries().iter()) {
            // A model without a request so far stays unloaded.
            if old.cell.ready().is_some() {
                new_entry.get(&new).await?;
            }
        }
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = new.entries();
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the rule keeps clocks out of releases; the API reports the time of creation"
)]
fn entries(models: &[(String, PathBuf)]) -> Snapshot {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let entry = |(name, dir): &(String, PathBuf)| {
        Arc::new(CatalogEntry {
            name: name.clone(),
            dir: dir.clone(),
            created,
            cell: SingleFlight::empty(),
            load_time: Arc::default(),
        })
    };
    models.iter().map(entry).collect()
}

impl CatalogEntry {
    /// Name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Folder of the model.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Creation of this entry, in seconds since 1970.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// The model; loads it when necessary.
    pub async fn get(&self, catalog: &Catalog) -> Result<Arc<dyn Model>, Diagnostic> {
        let (loader, name, dir) = (Arc::clone(&catalog.loader), self.name.clone(), self.dir.clone());
        let load_time = Arc::clone(&self.load_time);
        let load = move || {
            let started = Instant::now();
            let model = loader(&name, &dir)?;
            let time = *load_time.get_or_init(|| started.elapsed());
            tracing::info!(name = %name, load_ms = time.as_millis() as u64, "model_loaded");
            Ok(model)
        };
        self.cell.get(load).await
    }

    /// Duration of the load, once it has succeeded.
    pub fn load_time(&self) -> Option<Duration> {
        self.load_time.get().copied()
    }

    /// The model, if it is in memory.
    pub fn loaded(&self) -> Option<Arc<dyn Model>> {
        self.cell.ready()
    }

    /// Whether the model is in memory.
    pub fn is_loaded(&self) -> bool {
        self.loaded().is_some()
    }
}
