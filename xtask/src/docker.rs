//! `cargo xtask docker`: loads the image of `dist/` into the running engine and tries it there.
//!
//! The archive is read and checked before an engine is asked; the image is then run by its digest, never by its tag, so
//! that what is tried is what was built. Whatever happens, the last lines say what is left behind and how to remove it.
//!
//! It does not build, does not push, and starts no engine.

mod archive;
mod engine;
mod left_behind;
mod model;
mod verdict;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use diag::Diagnostics;
use process::Runner;
use units::TimeSpan;

use crate::Outcome;
use crate::setup::workspace_root;
pub use archive::DistImage;
pub use engine::Engine;
use engine::{Container, Ended};
use left_behind::LeftBehind;
use model::Model;
use verdict::Verdict;

#[derive(ClapArgs)]
pub struct Args {
    /// Where `cargo xtask dist` left its results [default: dist/ of this checkout]
    #[arg(long, value_name = "DIR")]
    dist: Option<PathBuf>,
    /// The model folder that `embed` gets, mounted read-only [default: fixtures/models/tiny-bert]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// A second name for the loaded image
    #[arg(long, value_name = "NAME:TAG")]
    tag: Option<String>,
    /// How long each of the two containers may run
    #[arg(long, value_name = "TIME", default_value = "2 min", value_parser = parse_span)]
    timeout: TimeSpan,
}

fn parse_span(text: &str) -> Result<TimeSpan, String> {
    text.parse::<TimeSpan>().map_err(|error| error.to_string())
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let dist = args.dist.clone().unwrap_or_else(|| workspace_root().join("dist"));
    let model = args.model.clone().unwrap_or_else(|| workspace_root().join("fixtures/models/tiny-bert"));
    let (image, model) = match (DistImage::find(&dist), model::mountable(&model)) {
        (Ok(image), Ok(model)) => (image, model),
        (image, model) => {
            Diagnostics([image.err(), model.err()].into_iter().flatten().collect()).into_result()?;
            unreachable!("a problem was reported: one of the two has failed");
        }
    };
    let mut left = LeftBehind::of(&image);
    let outcome = load_and_try(&args, &image, &model, &mut left);
    left.report();
    outcome
}

fn load_and_try(
    args: &Args,
    image: &DistImage,
    model: &Model,
    left: &mut LeftBehind,
) -> anyhow::Result<Outcome> {
    let engine = Engine::find(Runner::new(crate::progress::events(false))?, image)?;
    let reference = &image.archive.reference;
    eprintln!("engine {} answers; loading {}", engine.version, image.path.display());

    left.before = engine.image_id(reference)?;
    engine.load(image)?;
    let loaded = engine.image_id(reference)?;
    left.loaded = loaded.clone();
    println!("image      {reference}");
    println!(
        "manifest   {}  (registries and new engines call the image this)",
        image.archive.manifest_digest
    );
    println!("image id   {}  (engines with the classic store call it this)", image.archive.image_id);
    println!("loaded as  {}", loaded.as_deref().unwrap_or("nothing"));
    let Some(id) = loaded.filter(|id| image.is_called(id)) else {
        eprintln!("error: the engine holds another image under {reference} than the archive has");
        eprintln!("hint: does something else load or tag {reference} now? Run this again");
        return Ok(Outcome::Violated);
    };
    explain_digests(image, &id);
    if let Some(tag) = &args.tag {
        engine.tag(&id, tag)?;
        left.tag = Some(tag.clone());
        println!("tag        {tag}");
    }

    let timeout: Duration = args.timeout.0;
    let selftest = Container::new("selftest", &id, timeout, &["selftest", "--json"]);
    let embed = Container::new("embed", &id, timeout, &["embed", "--model", "/model", "--", "hello"])
        .mount(&model.folder);
    let ended = engine.run(&selftest, left)?;
    let alive = print(&selftest, &ended, verdict::selftest(&ended));
    let ended = engine.run(&embed, left)?;
    let useful = print(&embed, &ended, verdict::embedding(&ended, model.dimension));
    Ok(verdict::worst(&[alive, useful]))
}

fn print(container: &Container, ended: &Ended, verdict: Verdict) -> Verdict {
    println!("{:<10} {}  ({:.1} s)", container.what, verdict.summary(), ended.elapsed.as_secs_f64());
    if let Some(detail) = verdict.detail() {
        eprintln!("error: `{}` in the container: {detail}", container.what);
        eprintln!("hint: to run it by hand:\n      {}", ended.command);
    }
    verdict
}

/// The two digests name different files of the same image, and which one an engine shows depends on its store. A
/// registry computes a third one after `docker push` from a classic store, because that engine compresses the layer anew.
fn explain_digests(image: &DistImage, id: &str) {
    let (shown, other) = if id == image.archive.image_id {
        ("the digest of the config", "the manifest was not kept; `docker push` from here makes a new one")
    } else {
        ("the digest of the manifest", "it stays the same after a `docker push` from here")
    };
    eprintln!("note: this engine shows {shown} as the image's ID; {other} (docs/image.md)");
}
