//! The models by name. A snapshot is replaced whole: whoever works with an entry keeps it as long as he needs it, and the
//! lock is held for as long as it takes to copy a pointer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::api::ApiError;
use super::model::Model;
use super::single_flight::{Failed, SingleFlight};

/// Opens the model of a folder. Runs on a thread of its own.
pub type Loader = Arc<dyn Fn(&str, &Path) -> Result<Arc<dyn Model>, String> + Send + Sync>;

pub struct Entry {
    pub name: String,
    pub dir: PathBuf,
    /// Seconds since 1970: when this entry came into being.
    pub created: u64,
    cell: SingleFlight<Arc<dyn Model>>,
}

type Snapshot = Arc<[Arc<Entry>]>;

pub struct Catalog {
    loader: Loader,
    snapshot: Mutex<Snapshot>,
}

impl Catalog {
    pub fn new(models: &[(String, PathBuf)], loader: Loader) -> Self {
        Self { loader, snapshot: Mutex::new(entries(models)) }
    }

    pub fn entries(&self) -> Snapshot {
        Arc::clone(&self.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Without a name: the only model, if there is only one.
    pub fn find(&self, name: Option<&str>) -> Result<Arc<Entry>, ApiError> {
        let entries = self.entries();
        let found = match (name, &*entries) {
            (None, [only]) => Some(only),
            (None, _) => return Err(ApiError::invalid("model", "`model` is missing")),
            (Some(name), entries) => entries.iter().find(|entry| entry.name == name),
        };
        found.cloned().ok_or_else(|| {
            let known: Vec<_> = entries.iter().map(|entry| entry.name.clone()).collect();
            ApiError::model_not_found(name.unwrap_or_default(), &known)
        })
    }

    /// A loaded model whose files are not those any more that it was made of.
    pub fn changed(&self) -> Option<String> {
        let entries = self.entries();
        let changed =
            entries.iter().find(|entry| entry.cell.ready().is_some_and(|model| model.check().is_err()));
        changed.map(|entry| entry.name.clone())
    }

    pub async fn load_all(&self) -> Result<(), String> {
        for entry in self.entries().iter() {
            entry.get(self).await.map_err(|why| format!("cannot load the model `{}`: {why}", entry.name))?;
        }
        Ok(())
    }

    /// Loads every model anew and only then puts the new ones in the place of the old. Requests that have begun end on
    /// the models that they began with. After an error the old ones stay.
    pub async fn reload(&self) -> Result<(), String> {
        let old = self.entries();
        let models: Vec<_> = old.iter().map(|entry| (entry.name.clone(), entry.dir.clone())).collect();
        let new = Self { loader: Arc::clone(&self.loader), snapshot: Mutex::new(entries(&models)) };
        for (old, new_entry) in old.iter().zip(new.entries().iter()) {
            // One that nobody has asked for yet stays lazy.
            if old.cell.ready().is_some() {
                let loaded = new_entry.get(&new).await;
                loaded.map_err(|why| format!("cannot reload the model `{}`: {why}", old.name))?;
            }
        }
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = new.entries();
        Ok(())
    }
}

fn entries(models: &[(String, PathBuf)]) -> Snapshot {
    let created = super::log::unix_seconds();
    let entry = |(name, dir): &(String, PathBuf)| {
        Arc::new(Entry { name: name.clone(), dir: dir.clone(), created, cell: SingleFlight::empty() })
    };
    models.iter().map(entry).collect()
}

impl Entry {
    /// The model, loaded now if it is not yet.
    pub async fn get(&self, catalog: &Catalog) -> Result<Arc<dyn Model>, Failed> {
        let (loader, name, dir) = (Arc::clone(&catalog.loader), self.name.clone(), self.dir.clone());
        self.cell.get(move || loader(&name, &dir)).await
    }

    /// What is in memory already.
    pub fn loaded(&self) -> Option<Arc<dyn Model>> {
        self.cell.ready()
    }

    pub fn is_loaded(&self) -> bool {
        self.loaded().is_some()
    }
}
