//! The built-in transcoder: in child processes that can do nothing else, or in this process.
//!
//! Which of both, and how much a job may use, stands in its URL: `native:?sandbox=strict&memory=268435456`. The options
//! that people use are written into it (`config::Sandbox`).

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use microserve_core::BoxError;
use microserve_core::inspect::{Fact, Step};
use microserve_core::open::SecretUrl;
use microserve_core::transcode::Transcoder;
use microserve_sandbox::{Limits, Mode, Sandboxed};
use microserve_transcoder::{Codecs, NativeTranscoder};
use tracing::{info, warn};

/// What the children are told to be.
const WORDS: &str = "native";

/// To be called first thing in `main` of every program that opens `native:` with a sandbox, which is the default: before it
/// starts a thread or a runtime. In the program itself it gives `None` at once; in a child that was started for a job
/// it does the job, and the process has to end with the code that it gives.
///
/// The programs that come along do this in [`cli`](crate::cli).
#[must_use = "in a child, the process has to end with this"]
pub fn child() -> Option<ExitCode> {
    child_with(Codecs::default())
}

/// As [`child`], for a program with decoders of its own. It gives the same ones to
/// [`Registry::with_codecs`](crate::registry::Registry::with_codecs), which `native:` without a sandbox takes.
#[must_use = "in a child, the process has to end with this"]
pub fn child_with(codecs: Codecs) -> Option<ExitCode> {
    microserve_sandbox::child(|words, cores| match words {
        WORDS => Ok(Box::new(NativeTranscoder::default().with_cores(cores).with_codecs(codecs))),
        _ => Err(format!("there is no transcoder {words}").into()),
    })
}

/// Opens `native:`, and says in the log what keeps its files from doing harm.
pub(crate) async fn open(url: SecretUrl, codecs: Codecs) -> Result<Arc<dyn Transcoder>, BoxError> {
    let Some((mode, limits)) = settings(&url)? else {
        warn!("videos are read in this process, without a sandbox");
        return Ok(Arc::new(NativeTranscoder::default().with_codecs(codecs)));
    };
    let sandboxed = sandboxed(mode, limits).await?;
    let enforced = sandboxed.enforced();
    if enforced.is_full() {
        info!(%mode, "videos are read in a sandbox");
    } else {
        warn!(%mode, "videos are read in a sandbox that is not complete: {}", enforced.missing.join("; "));
    }
    Ok(Arc::new(sandboxed))
}

/// What the kernel enforces.
pub(crate) async fn inspect(url: SecretUrl) -> Vec<Fact> {
    match settings(&url) {
        Err(err) => vec![Fact::obstacle(Step::Read, err)],
        Ok(None) => vec![Fact::Unconfined("it is switched off".to_owned())],
        Ok(Some((mode, limits))) => match sandboxed(mode, limits).await {
            Err(err) => vec![Fact::obstacle(Step::Use, err)],
            Ok(sandboxed) if sandboxed.enforced().is_full() => {
                vec![Fact::Ready("files that do harm end in a sandbox".to_owned())]
            }
            Ok(sandboxed) => sandboxed.enforced().missing.iter().cloned().map(Fact::Unconfined).collect(),
        },
    }
}

async fn sandboxed(mode: Mode, limits: Limits) -> Result<Sandboxed, BoxError> {
    // A trial child is waited for.
    let sandboxed = tokio::task::spawn_blocking(move || Sandboxed::new(WORDS, mode)).await?;
    Ok(sandboxed?.with_limits(limits).with_glance(microserve_transcoder::glance))
}

/// What the URL says: `None` for no sandbox.
fn settings(url: &SecretUrl) -> Result<Option<(Mode, Limits)>, BoxError> {
    let url = url.expose_url().ok_or("that is no URL")?;
    let (mut mode, mut limits) = (Some(Mode::default()), Limits::default());
    for (key, value) in url.query_pairs() {
        let wrong = || format!("native:?{key}={value} makes no sense");
        let number = || value.parse::<u64>().ok().filter(|number| *number > 0).ok_or_else(wrong);
        match &*key {
            "sandbox" if value == "off" => mode = None,
            "sandbox" => mode = Some(value.parse().map_err(|_| wrong())?),
            "memory" => limits.memory = number()?,
            "cpu" => limits.cpu = Duration::from_secs(number()?),
            "time" => limits.time = Duration::from_secs(number()?),
            "silence" => limits.silence = Duration::from_secs(number()?),
            "output" => limits.output = number()?,
            _ => return Err(wrong().into()),
        }
    }
    Ok(mode.map(|mode| (mode, limits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_says_how_to_confine() {
        let settings = |url: &str| settings(&url.parse().unwrap());
        assert_eq!(settings("native:").unwrap(), Some((Mode::BestEffort, Limits::default())));
        assert_eq!(settings("native:?sandbox=off&memory=5").unwrap(), None);
        let (mode, limits) = settings("native:?sandbox=strict&memory=5&silence=7").unwrap().unwrap();
        assert_eq!((mode, limits.memory, limits.silence), (Mode::Strict, 5, Duration::from_secs(7)));
        for bad in ["native:?sandbox=on", "native:?memory=0", "native:?memory=1GiB", "native:?x=1"] {
            assert!(settings(bad).is_err(), "{bad}");
        }
    }
}
