//! `cargo xtask docker`: loads the image of `dist/` into the running engine and runs it there.
//!
//! The archive is read and verified before the engine is used. The image is then run by its digest, never by its tag, so
//! that what runs is what was built. In every case the verb reports what remains in the engine and how to remove it.
//!
//! It does not build, does not push, and starts no engine.

mod archive;
mod checks;
mod cleanup;
mod codes;
mod container;
mod engine;
mod model;
mod report;

use std::path::PathBuf;

use clap::Args as ClapArgs;
use diag::{Diagnostic, Diagnostics};
use process::Runner;
use units::TimeSpan;

use crate::Outcome;
use crate::format::{self, Format};
use crate::setup::workspace_root;
pub use archive::DistImage;
use cleanup::Cleanup;
pub use codes::*;
use container::Container;
pub use engine::Engine;
use model::Model;
use report::DockerReport;

#[derive(ClapArgs)]
pub struct Args {
    /// The folder with the results of `cargo xtask dist` [default: dist/ of this checkout]
    #[arg(long, value_name = "DIR")]
    dist: Option<PathBuf>,
    /// The model folder for `embed`, mounted read-only [default: fixtures/models/tiny-bert]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// A second reference for the loaded image
    #[arg(long, value_name = "NAME:TAG")]
    tag: Option<String>,
    /// Time limit of each of the two containers
    #[arg(long, value_name = "TIME", default_value = "2 min")]
    timeout: TimeSpan,
    /// Format of the result and errors on stdout
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let dist = args.dist.clone().unwrap_or_else(|| workspace_root().join("dist"));
    let model = args.model.clone().unwrap_or_else(|| workspace_root().join("fixtures/models/tiny-bert"));
    let mut problems = Diagnostics::default();
    let image = DistImage::find(&dist).map_err(|problem| problems.push(problem)).ok();
    let model = Model::check(&model).map_err(|problem| problems.push(problem)).ok();
    let (Some(image), Some(model)) = (image, model) else {
        return Err(problems.into());
    };
    let mut cleanup = Cleanup::new(&image);
    let mut report = DockerReport::new(args.format, &image);
    let result = load_and_run(&args, &image, &model, &mut cleanup, &mut report);
    eprint!("{}", cleanup.report());
    let problems: Diagnostics =
        result.as_ref().err().map(diag::collect).unwrap_or_default().into_iter().collect();
    report.finish(&cleanup, &problems)?;
    Ok(format::problems(problems))
}

fn load_and_run(
    args: &Args,
    image: &DistImage,
    model: &Model,
    cleanup: &mut Cleanup,
    report: &mut DockerReport,
) -> anyhow::Result<()> {
    let engine =
        Engine::connect(Runner::new(crate::progress::events(crate::progress::Verbosity::default()))?, image)?;
    let reference = &image.archive.reference;
    eprintln!("engine {}: loading {}", engine.version, image.path.display());

    cleanup.id_before = engine.image_id(reference)?;
    engine.load(image)?;
    let loaded = engine.image_id(reference)?;
    cleanup.id_loaded.clone_from(&loaded);
    report.loaded(image, loaded.as_deref())?;
    let Some(id) = loaded.clone().filter(|id| image.is_called(id)) else {
        return Err(Diagnostic::new(
            &IMAGE_REPLACED,
            format!("the engine holds another image as {reference}"),
        )
        .expected(format!("{} or {}", image.archive.image_id, image.archive.manifest_digest))
        .found(loaded.unwrap_or_else(|| "no image".into()))
        .hint("run the verb again when no other process loads or tags this reference")
        .into());
    };
    explain_digest(image, &id);
    if let Some(tag) = &args.tag {
        engine.tag(&id, tag)?;
        cleanup.tag = Some(tag.clone());
        report.tagged(tag)?;
    }

    let timeout = args.timeout.duration();
    let selftest = Container::new("selftest", &id, timeout, &["selftest", "--json"]);
    let embed = Container::new("embed", &id, timeout, &["embed", "--model", "/model", "--", "hello"])
        .mount(&model.folder);
    let mut problems = Diagnostics::default();
    let exit = engine.run(&selftest, cleanup)?;
    problems.extend(report.container(&selftest, &exit, checks::selftest(&exit))?);
    let exit = engine.run(&embed, cleanup)?;
    problems.extend(report.container(&embed, &exit, checks::embedding(&exit, model.dimension))?);
    problems.into_result()
}

/// Both digests identify the same image; which one an engine shows depends on its store. A registry computes a third one
/// after `docker push` from a classic store, because that engine compresses the layer again.
fn explain_digest(image: &DistImage, id: &str) {
    let (digest, push) = if id == image.archive.image_id {
        ("config", "it has not kept the manifest, so `docker push` from here creates another manifest digest")
    } else {
        ("manifest", "`docker push` from here keeps it")
    };
    eprintln!("note: this engine identifies the image by the digest of its {digest}; {push} (docs/image.md)");
}
