//! `microserve convert`: the transcoder without any server.

use std::fs::File;
use std::io::{self, IsTerminal, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use microserve_core::convert::mp3_name;
use microserve_core::transcode::{Progress, TranscodeError, Transcoded, Transcoder};
use tempfile::NamedTempFile;

use super::wanted::Wanted;
use super::{Failure, Outcome, exists, print, runtime, say};
use crate::config::Transcoder as Choice;
use crate::registry::Registry;

/// Turn a video or audio file into an MP3.
#[derive(Args)]
pub(super) struct Convert {
    /// The file to convert; `-` is standard input
    input: PathBuf,

    /// The MP3 to write; `-` is standard output [default: the input's name with .mp3, in the current folder]
    output: Option<PathBuf>,

    #[command(flatten)]
    wanted: Wanted,

    /// Replace the output if it exists
    #[arg(long)]
    force: bool,

    /// Print what was made as JSON
    #[arg(long)]
    json: bool,

    /// No progress, no summary
    #[arg(long, short)]
    quiet: bool,

    #[command(flatten)]
    transcoder: Choice,
}

pub(super) fn run(args: &Convert) -> Outcome {
    let mut options = args.wanted.options().map_err(|err| Failure::new(Failure::USAGE, err))?;
    let (mut source, name) = open(&args.input)?;
    options.fallback_title = Path::new(&name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let target = Target::open(args, &name)?;
    let transcoder = transcoder(&args.transcoder)?;
    let interrupted = watch_for_interrupt()?;
    let bar = bar(!args.quiet && io::stderr().is_terminal());
    let mut sink = target.file.as_file();
    let transcoded = transcoder.transcode(&mut source, &mut sink, &options, &mut |progress| {
        show(&bar, progress);
        if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    let transcoded = transcoded.map_err(|err| failure(err, &name))?;
    let (size, shown) = target.finish(args.force)?;
    report(args, &transcoded, size, &shown)
}

/// The transcoder that was chosen.
pub(super) fn transcoder(choice: &Choice) -> Result<Arc<dyn Transcoder>, Failure> {
    let registry = Registry::empty().with_transcoder();
    Ok(runtime()?.block_on(registry.transcoder.open(&choice.url()?))?)
}

/// Opens the input. Standard input is spooled to a file: containers are not read front to back.
pub(super) fn open(input: &Path) -> Result<(File, String), Failure> {
    let failed =
        |what: &str, err: io::Error| Failure::new(Failure::FILE, format!("can't {what} {}: {err}", input.display()));
    if input == Path::new("-") {
        let mut spool = tempfile::tempfile().map_err(|err| failed("spool", err))?;
        io::copy(&mut io::stdin().lock(), &mut spool).map_err(|err| failed("read", err))?;
        spool.rewind().map_err(|err| failed("spool", err))?;
        return Ok((spool, "audio".to_owned()));
    }
    let file = File::open(input).map_err(|err| failed("open", err))?;
    if file.metadata().map_err(|err| failed("open", err))?.is_dir() {
        return Err(Failure::new(Failure::FILE, format!("{} is a folder, not a file", input.display())));
    }
    let name = input.file_name().map_or_else(|| "audio".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok((file, name))
}

/// The output: it grows under a temporary name and appears as a whole or not at all.
struct Target {
    file: NamedTempFile,
    /// `None` is standard output.
    path: Option<PathBuf>,
}

impl Target {
    fn open(args: &Convert, name: &str) -> Result<Self, Failure> {
        let path = match &args.output {
            Some(path) if path == Path::new("-") => {
                let file = NamedTempFile::new().map_err(|err| Failure::new(Failure::FILE, err))?;
                return Ok(Self { file, path: None });
            }
            Some(path) => path.clone(),
            None => PathBuf::from(mp3_name(name)),
        };
        if !args.force && path.exists() {
            return Err(exists(&path));
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().prefix(".microserve-").suffix(".part").tempfile_in(folder);
        let file =
            file.map_err(|err| Failure::new(Failure::FILE, format!("can't write into {}: {err}", folder.display())))?;
        Ok(Self { file, path: Some(path) })
    }

    /// Gives the MP3 its name; returns its size and what to call it.
    fn finish(self, force: bool) -> Result<(u64, String), Failure> {
        let failed = |err: io::Error| Failure::new(Failure::FILE, format!("can't write the mp3: {err}"));
        let size = self.file.as_file().metadata().map_err(failed)?.len();
        let Some(path) = self.path else {
            let mut mp3 = self.file.reopen().map_err(failed)?;
            let mut out = io::stdout().lock();
            io::copy(&mut mp3, &mut out).and_then(|_| out.flush()).map_err(failed)?;
            return Ok((size, "standard output".to_owned()));
        };
        share_like_others(self.file.as_file()).map_err(failed)?;
        self.file.as_file().sync_all().map_err(failed)?;
        let named = if force { self.file.persist(&path) } else { self.file.persist_noclobber(&path) };
        match named {
            Ok(_) => Ok((size, path.display().to_string())),
            Err(err) if err.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(&path)),
            Err(err) => Err(failed(err.error)),
        }
    }
}

/// Temporary files are for their owner only; a finished MP3 is a file like any other.
#[cfg(unix)]
fn share_like_others(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn share_like_others(_file: &File) -> io::Result<()> {
    Ok(())
}

fn failure(err: TranscodeError, name: &str) -> Failure {
    match err {
        TranscodeError::Cancelled => Failure::new(Failure::INTERRUPTED, "interrupted; nothing was written"),
        TranscodeError::Source(_) | TranscodeError::Sink(_) => Failure::new(Failure::FILE, err),
        TranscodeError::Internal(_) => Failure::new(1, err),
        err => Failure::new(Failure::NOT_CONVERTIBLE, format!("{name}: {err} ({})", err.code())),
    }
}

/// Ctrl-C lets the transcoder end in order, so that no half MP3 stays behind.
fn watch_for_interrupt() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&interrupted);
    let runtime = runtime()?;
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            told.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(interrupted)
}

fn bar(visible: bool) -> ProgressBar {
    let bar = if visible { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}  {eta} left") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    if let Some(duration) = progress.duration {
        bar.set_length((duration * 1000.0) as u64);
    }
    bar.set_position((progress.position * 1000.0) as u64);
    bar.set_message(format!("{} done", clock(progress.position)));
}

fn report(args: &Convert, transcoded: &Transcoded, size: u64, shown: &str) -> Outcome {
    if args.json {
        let report =
            serde_json::json!({ "output": shown, "size": size, "duration": transcoded.duration(), "mp3": transcoded });
        // With the MP3 itself on standard output, the report goes where people look.
        if args.output.as_deref() == Some(Path::new("-")) {
            say(&report.to_string());
        } else {
            print(&report.to_string())?;
        }
    } else if !args.quiet {
        let kbps = f64::from(transcoded.bitrate) / 1000.0;
        let length = clock(transcoded.duration());
        say(&format!("{shown}: {length}, {kbps:.0} kbit/s, {} Hz, {} bytes", transcoded.sample_rate, size));
        if transcoded.lost_packets > 0 {
            say(&format!("{} damaged packets were replaced by silence", transcoded.lost_packets));
        }
    }
    Ok(())
}

/// `1:02:03` or `4:05`.
pub(super) fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (h, m, s) = (whole / 3600, whole / 60 % 60, whole % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}
