//! A transcoder of one's own: ffmpeg behind the built-in one, for what that does not decode.
//!
//! ```sh
//! cargo run -p microserve-examples --example custom_transcoder -- --transcoder ffmpeg:///usr/bin
//! ```
//!
//! The built-in transcoder looks at each file first. Only when it says `unsupported_codec` or `unsupported_container`
//! is ffmpeg asked, and only to decode: what it makes, as FLAC, is read by the built-in transcoder again, which makes
//! the MP3 as ever, with all that was asked for. So a file that ffmpeg gets wrong is at worst a sound that nobody
//! wanted.
//!
//! # What keeps a file from doing harm
//!
//! | | |
//! |---|---|
//! | the built-in transcoder | is in its sandbox, as without ffmpeg |
//! | ffmpeg's files | the source's copy, its own program and libraries, to read (Landlock, `RLIMIT_FSIZE`) |
//! | the network | no sockets (seccomp); `-protocol_whitelist`, and no playlists (`-format_whitelist`) |
//! | memory, processor time, time, silence, what it makes | limited ([`Limits`]) |
//! | environment, descriptors, privileges | none |
//! | its end | when it is done, over a limit, cancelled; if this process is killed, with its next write |
//! | **not confined** | which other system calls it makes: a file that takes ffmpeg over can attack the kernel |
//!
//! What it does not do: look at ffmpeg's decoders before it says of a file that it can be converted.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use clap::Parser;
use microserve::config::Serve;
use microserve::core::open::SecretUrl;
use microserve::core::transcode::{
    Limit, Options, Progress, Sink, Source, SourceInfo, TrackChoice, TrackInfo, TranscodeError, Transcoded, Transcoder,
};
use microserve::core::{BoxError, Shutdown};
use microserve::registry::Registry;
use microserve::sandbox::{External, ExternalChild, Limits, Mode};
use microserve::server::Server;
use serde::Deserialize;
use tempfile::TempDir;

/// What ffmpeg may take for media: no playlists, which name other files, and nothing that is mistaken for text.
const CONTAINERS: &str = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,matroska,mlp,mov,mp3,mpc,\
                          mpc8,mpeg,mpegts,mxf,nsv,nut,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,wtv,wv,xwma";
/// Where programs and their libraries lie.
const SYSTEM: [&str; 4] = ["/usr", "/lib", "/lib64", "/etc/ld.so.cache"];
/// The source is copied in pieces of this size.
const PIECE: u64 = 1024 * 1024;
/// The part of the work that ffmpeg's is.
const DECODING: f64 = 0.4;
/// How often the caller is asked whether to go on.
const TICK: Duration = Duration::from_millis(200);
/// What ffprobe says of a file, and a line that ffmpeg says, are no longer.
const LONGEST_ANSWER: u64 = 1024 * 1024;
const LONGEST_LINE: u64 = 1024;

/// Another transcoder, and ffmpeg for what that does not decode.
struct WithFfmpeg {
    first: Arc<dyn Transcoder>,
    /// The folder in which `ffmpeg` and `ffprobe` lie.
    programs: PathBuf,
    /// What one run may use; `output` is what it may make.
    limits: Limits,
}

impl WithFfmpeg {
    fn new(first: Arc<dyn Transcoder>, programs: &Path) -> io::Result<Self> {
        // Where links lead to is what has to be readable.
        let programs = programs.canonicalize()?;
        for name in ["ffmpeg", "ffprobe"] {
            programs.join(name).metadata()?;
        }
        Ok(Self { first, programs, limits: Limits { memory: 1024 * 1024 * 1024, ..Limits::default() } })
    }
}

impl Transcoder for WithFfmpeg {
    fn probe(&self, source: &mut dyn Source) -> Result<SourceInfo, TranscodeError> {
        let first = self.first.probe(source);
        let is_beyond = match &first {
            Ok(info) => info.problem.as_ref().is_some_and(|problem| problem.code == "unsupported_codec"),
            Err(err) => is_beyond(err),
        };
        if !is_beyond {
            return first;
        }
        let spool = Spool::copy(source, &mut || ControlFlow::Continue(()))?;
        let Some(found) = self.look(&spool, &mut |_| ControlFlow::Continue(()))? else { return first };
        let mut info = SourceInfo { tracks: found.tracks(), ..first.unwrap_or_else(|_| found.info()) };
        let chosen = found.choose(None);
        info.problem = chosen.as_ref().err().map(TranscodeError::problem);
        info.chosen = chosen.ok();
        Ok(info)
    }

    fn transcode(
        &self,
        source: &mut dyn Source,
        sink: &mut dyn Sink,
        options: &Options,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Transcoded, TranscodeError> {
        let err = match self.first.transcode(source, sink, options, progress) {
            Err(err) if is_beyond(&err) => err,
            outcome => return outcome,
        };
        // What it has written can't be taken back: it has met the codec in the middle of the file.
        if sink.seek(io::SeekFrom::End(0)).map_err(TranscodeError::Sink)? > 0 {
            return Err(err);
        }
        let mut ask = |seconds, duration| progress(Progress { position: seconds, duration }.part(0.0, DECODING));
        let spool = Spool::copy(source, &mut || ask(0.0, None))?;
        let Some(found) = self.look(&spool, &mut |_| ask(0.0, None))? else { return Err(err) };
        let chosen = found.choose(options.track.as_ref())?;
        let duration = found.duration(chosen);
        // Without a duration nobody knows how much of the work is done, and going on must not look like going back.
        let decoding = &mut |seconds: f64| ask(if duration.is_some() { seconds } else { 0.0 }, duration);
        let Some(mut flac) = self.decode(&spool, found.streams[chosen].index, decoding)? else { return Err(err) };
        let encoding = &mut |now: Progress| progress(Progress { duration, ..now }.part(DECODING, 1.0));
        let options = Options { track: None, ..options.clone() };
        let mut made = self.first.transcode(&mut flac, sink, &options, encoding)?;
        found.check(duration, &made, &options)?;
        let mut info = SourceInfo { title: made.source.title.take(), chosen: Some(chosen), ..found.info() };
        if let Some(decoded) = made.source.audio() {
            let track = &mut info.tracks[chosen];
            (track.sample_rate, track.channels) = (decoded.sample_rate, decoded.channels);
            track.duration = decoded.duration.or(track.duration);
        }
        Ok(Transcoded { source: info, ..made })
    }
}

/// Whether a transcoder says of a file that others may know more.
fn is_beyond(err: &TranscodeError) -> bool {
    matches!(err, TranscodeError::UnsupportedCodec { .. } | TranscodeError::UnsupportedContainer { .. })
}

/// A copy of the source, which ffmpeg can seek in. The file has no name, so that nothing is left of it whoever dies;
/// its folder has one, and is what ffmpeg may read.
struct Spool {
    file: File,
    folder: TempDir,
}

impl Spool {
    fn copy(source: &mut dyn Source, go_on: &mut dyn FnMut() -> ControlFlow<()>) -> Result<Self, TranscodeError> {
        let folder = tempfile::tempdir().map_err(no_room)?;
        let mut file = tempfile::tempfile_in(&folder).map_err(no_room)?;
        source.rewind().map_err(TranscodeError::Source)?;
        let mut piece = Vec::new();
        loop {
            piece.clear();
            if source.take(PIECE).read_to_end(&mut piece).map_err(TranscodeError::Source)? == 0 {
                return Ok(Self { file, folder });
            }
            file.write_all(&piece).map_err(no_room)?;
            if go_on().is_break() {
                return Err(TranscodeError::Cancelled);
            }
        }
    }
}

/// Files of ours that can't be written are not the source's fault: the disk may be full for now.
fn no_room(err: io::Error) -> TranscodeError {
    TranscodeError::Internal(err.into())
}

/// How a program ended that was not ended by us.
struct Ended {
    code: i32,
    /// What it last said that was neither asked for nor progress.
    words: String,
    /// What it made, and the bytes of that.
    output: File,
    made: u64,
}

/// What is heard of a running program.
enum News {
    /// It has come so far, in seconds of sound.
    At(f64),
    /// It has said something else.
    Said(String),
    /// It has made all that it makes, or that could not be kept.
    Made(io::Result<u64>),
}

impl WithFfmpeg {
    /// What ffprobe finds in a file. `None`: nothing that it knows.
    fn look(
        &self,
        spool: &Spool,
        go_on: &mut dyn FnMut(f64) -> ControlFlow<()>,
    ) -> Result<Option<Found>, TranscodeError> {
        let mut command = self.command("ffprobe");
        let wanted = "format=format_name,duration:stream=index,codec_type,codec_name,channels,sample_rate,duration:\
                      stream_tags=language:stream_disposition=default";
        command.args(["-show_entries", wanted, "-of", "json", "file:/dev/stdin"]);
        let ended = self.run(&mut command, spool, LONGEST_ANSWER, go_on)?;
        Ok(if ended.code == 0 { serde_json::from_reader(BufReader::new(ended.output)).ok() } else { None })
    }

    /// Decodes a stream to FLAC, as a player would play it: from the file's beginning on, gaps filled. `None`: ffmpeg
    /// can't.
    fn decode(
        &self,
        spool: &Spool,
        stream: usize,
        go_on: &mut dyn FnMut(f64) -> ControlFlow<()>,
    ) -> Result<Option<File>, TranscodeError> {
        let mut command = self.command("ffmpeg");
        command.args(["-nostdin", "-threads", "1", "-i", "file:/dev/stdin", "-map", &format!("0:{stream}")]);
        command.args(["-af", "aresample=async=1:first_pts=0", "-c:a", "flac", "-compression_level", "0"]);
        command.args(["-threads", "1", "-stats_period", "0.25", "-progress", "pipe:2", "-f", "flac", "pipe:1"]);
        let ended = self.run(&mut command, spool, self.limits.output, go_on)?;
        match ended.code {
            0 => Ok(Some(ended.output)),
            _ if ended.made == 0 => Ok(None),
            _ => Err(TranscodeError::Corrupt { detail: format!("ffmpeg says: {}", ended.words) }),
        }
    }

    /// One of the programs, told what it may read. Its input's options come next.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env_clear().args(["-hide_banner", "-loglevel", "error"]);
        command.args(["-protocol_whitelist", "file,pipe", "-format_whitelist", CONTAINERS]);
        command
    }

    /// Runs a program on a file, until it is done or over a limit, or `go_on` says that it is not wanted any more.
    fn run(
        &self,
        command: &mut Command,
        spool: &Spool,
        most: u64,
        go_on: &mut dyn FnMut(f64) -> ControlFlow<()>,
    ) -> Result<Ended, TranscodeError> {
        let source = spool.file.try_clone().map_err(no_room)?;
        let output = tempfile::tempfile_in(&spool.folder).map_err(no_room)?;
        let mut kept = output.try_clone().map_err(no_room)?;
        command.stdin(source).stdout(Stdio::piped()).stderr(Stdio::piped());
        let walls = External::new(self.limits, Mode::BestEffort).readable(&self.programs).readable(&spool.folder);
        let walls = SYSTEM.iter().fold(walls, |walls, path| walls.readable(path));
        let mut running = walls.spawn(command).map_err(|err| TranscodeError::Internal(err.into()))?;
        let (tell, news) = mpsc::channel();
        let process = running.process();
        // These end with the pipes, which a program that was taken over can keep open: nobody waits for them.
        if let Some(stderr) = process.stderr.take() {
            let tell = tell.clone();
            std::thread::spawn(move || listen(stderr, &tell));
        }
        if let Some(stdout) = process.stdout.take() {
            std::thread::spawn(move || {
                let made = io::copy(&mut stdout.take(most.saturating_add(1)), &mut kept);
                let _nobody_waits = tell.send(News::Made(made));
            });
        }
        // However this ends: who drops it, ends the program.
        self.watch(running, &news, output, most, go_on)
    }

    fn watch(
        &self,
        mut running: ExternalChild,
        news: &mpsc::Receiver<News>,
        mut output: File,
        most: u64,
        go_on: &mut dyn FnMut(f64) -> ControlFlow<()>,
    ) -> Result<Ended, TranscodeError> {
        let (began, mut at, mut words) = (Instant::now(), 0.0, String::new());
        let (mut heard, mut made) = (began, None);
        loop {
            match news.recv_timeout(TICK) {
                Ok(News::At(seconds)) if seconds > at => (at, heard) = (seconds, Instant::now()),
                Ok(News::At(_)) => {}
                Ok(News::Said(line)) => words = line,
                Ok(News::Made(outcome)) => made = Some(outcome.map_err(no_room)?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if made.is_some_and(|made| made > most) {
                return Err(TranscodeError::LimitExceeded { limit: Limit::Output });
            }
            if go_on(at).is_break() {
                return Err(TranscodeError::Cancelled);
            }
            if began.elapsed() > self.limits.time {
                return Err(TranscodeError::LimitExceeded { limit: Limit::Time });
            }
            if heard.elapsed() > self.limits.silence {
                return Err(TranscodeError::LimitExceeded { limit: Limit::Silence });
            }
        }
        output.rewind().map_err(no_room)?;
        Ok(Ended { code: running.wait()?, words, made: made.unwrap_or(0), output })
    }
}

/// Takes progress (`key=value`) and errors apart, which come on the same pipe.
fn listen(pipe: impl Read, tell: &Sender<News>) {
    let (mut pipe, mut line) = (BufReader::new(pipe), Vec::new());
    loop {
        line.clear();
        match pipe.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text: String = String::from_utf8_lossy(&line).chars().filter(|c| !c.is_control()).take(200).collect();
        let is_key = |key: &str| key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let news = match text.split_once('=') {
            Some(("out_time_us", micros)) => micros.parse::<u64>().ok().map(|micros| News::At(micros as f64 / 1e6)),
            Some((key, _)) if is_key(key) => None,
            _ => Some(News::Said(text)),
        };
        if news.is_some_and(|news| tell.send(news).is_err()) {
            return;
        }
    }
}

/// What ffprobe says of a file. Its numbers are text.
#[derive(Deserialize)]
struct Found {
    streams: Vec<Stream>,
    format: Format,
}

#[derive(Deserialize)]
struct Format {
    format_name: String,
    duration: Option<String>,
}

#[derive(Deserialize)]
struct Stream {
    index: usize,
    codec_type: Option<String>,
    codec_name: Option<String>,
    channels: Option<u16>,
    sample_rate: Option<String>,
    duration: Option<String>,
    #[serde(default)]
    tags: Tags,
    #[serde(default)]
    disposition: Disposition,
}

#[derive(Default, Deserialize)]
struct Tags {
    language: Option<String>,
}

#[derive(Default, Deserialize)]
struct Disposition {
    default: u8,
}

impl Found {
    fn info(&self) -> SourceInfo {
        // `matroska,webm`: the first name is the usual one.
        let container = self.format.format_name.split(',').next().unwrap_or_default().to_owned();
        SourceInfo { container, tracks: self.tracks(), ..SourceInfo::default() }
    }

    fn tracks(&self) -> Vec<TrackInfo> {
        self.streams.iter().map(|stream| stream.info(self.format.duration.as_deref())).collect()
    }

    /// Seconds of a stream, or of the file.
    fn duration(&self, chosen: usize) -> Option<f64> {
        self.streams.get(chosen)?.info(self.format.duration.as_deref()).duration
    }

    /// The stream that was asked for, or the one that the file prefers.
    fn choose(&self, asked: Option<&TrackChoice>) -> Result<usize, TranscodeError> {
        let audio: Vec<(usize, &Stream)> = self.streams.iter().enumerate().filter(|(_, s)| s.is_audio()).collect();
        let first = audio.first().ok_or(TranscodeError::NoAudioTrack)?;
        let is_in = |stream: &Stream, wanted: &str| {
            stream.tags.language.as_ref().is_some_and(|language| language.eq_ignore_ascii_case(wanted))
        };
        let chosen = match asked {
            None => Some(audio.iter().find(|(_, stream)| stream.disposition.default == 1).unwrap_or(first)),
            Some(TrackChoice::Number(number)) => audio.get(usize::from(*number).wrapping_sub(1)),
            Some(TrackChoice::Language(wanted)) => audio.iter().find(|(_, stream)| is_in(stream, wanted)),
        };
        let there = || (1..=audio.len()).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        chosen.map(|(n, _)| *n).ok_or_else(|| TranscodeError::NoSuchTrack { there: there() })
    }

    /// Refuses a moment of sound that is all that could be decoded of a long file.
    fn check(&self, duration: Option<f64>, made: &Transcoded, options: &Options) -> Result<(), TranscodeError> {
        let is_whole = options.start.is_none() && options.end.is_none();
        match duration {
            Some(duration) if is_whole && made.duration() < 1.0 && made.duration() < duration / 10.0 => {
                let detail = format!("only {:.2} s of {duration:.0} s could be decoded", made.duration());
                Err(TranscodeError::Corrupt { detail })
            }
            _ => Ok(()),
        }
    }
}

impl Stream {
    fn is_audio(&self) -> bool {
        self.codec_type.as_deref() == Some("audio")
    }

    fn info(&self, of_file: Option<&str>) -> TrackInfo {
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok()).filter(|n| *n > 0.0);
        let is_known = |kind: &&str| ["audio", "video", "subtitle"].contains(kind);
        let kind = self.codec_type.as_deref().filter(is_known).unwrap_or("other");
        let language = self.tags.language.as_ref();
        TrackInfo {
            kind: kind.to_owned(),
            codec: self.codec_name.clone().unwrap_or_else(|| "unknown".to_owned()),
            channels: self.channels.unwrap_or(0),
            sample_rate: self.sample_rate.as_deref().and_then(|rate| rate.parse().ok()).unwrap_or(0),
            duration: number(self.duration.as_deref()).or_else(|| number(of_file)).filter(|_| self.is_audio()),
            language: language.map(|language| language.chars().filter(|c| !c.is_control()).take(32).collect()),
        }
    }
}

/// The options of `microserve serve`.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    serve: Serve,
}

fn main() -> ExitCode {
    // The built-in transcoder works in children of this program: they turn off here, before there is anything else.
    if let Some(done) = microserve::child() {
        return done;
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            let _nobody_listens = writeln!(io::stderr(), "{err}");
            ExitCode::FAILURE
        }
    }
}

/// `ffmpeg:///folder`, with what `native:` takes behind a question mark.
fn add_ffmpeg(registry: &mut Registry) {
    let known = registry.transcoder.clone();
    registry.transcoder.add("ffmpeg", move |url| {
        let known = known.clone();
        async move {
            let url = url.expose_url().ok_or("not a URL")?;
            let native: SecretUrl = format!("native:?{}", url.query().unwrap_or_default()).parse()?;
            let transcoder = WithFfmpeg::new(known.open(&native).await?, Path::new(url.path()))?;
            Ok::<_, BoxError>(Arc::new(transcoder) as Arc<dyn Transcoder>)
        }
    });
}

#[tokio::main]
async fn serve() -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Cli::parse().serve;
    let mut registry = Registry::embedded();
    add_ffmpeg(&mut registry);
    let shutdown = Shutdown::new();
    let server = Server::start(&config, &registry, &shutdown).await?;
    writeln!(io::stderr(), "listening on http://{}; Ctrl-C stops", server.address)?;
    tokio::signal::ctrl_c().await?;
    server.stop(&shutdown, config.process.grace).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::os::unix::fs::PermissionsExt;

    use microserve::core::transcode::Quality;
    use microserve::transcoder::NativeTranscoder;
    use microserve_core::conformance::Fixture;
    use microserve_testkit::{judge, media};

    use super::*;

    fn with_ffmpeg() -> WithFfmpeg {
        WithFfmpeg::new(Arc::new(NativeTranscoder::default()), Path::new("/usr/bin")).unwrap()
    }

    microserve_core::transcoder_conformance!(|| async { Fixture::new(with_ffmpeg()) });

    /// Two seconds of a tone for each ear.
    fn tones(name: &str, encoded: &[&str]) -> PathBuf {
        let sound = "aevalsrc=exprs='0.3*sin(2*PI*440*t)|0.3*sin(2*PI*660*t)':sample_rate=48000:duration=2";
        media::make(name, &[&["-f", "lavfi", "-i", sound], encoded].concat())
    }

    fn transcode(transcoder: &WithFfmpeg, source: &Path, mp3: &Path) -> Result<Transcoded, TranscodeError> {
        let options = Options { quality: Some(Quality::Cbr(320)), ..Options::default() };
        let (mut source, mut sink) = (File::open(source).unwrap(), File::create(mp3).unwrap());
        let mut last = 0.0;
        transcoder.transcode(&mut source, &mut sink, &options, &mut |now| {
            assert!(now.position >= last, "progress never goes back");
            last = now.position;
            ControlFlow::Continue(())
        })
    }

    #[test]
    fn what_only_ffmpeg_decodes_becomes_a_right_mp3() {
        let truehd = ["-c:a", "truehd", "-strict", "-2", "-metadata", "title=Tones"];
        for (name, encoded, container, codec) in [
            ("tones.mkv", &truehd[..], "matroska", "truehd"),
            ("tones.mp4", &truehd, "mov", "truehd"),
            ("tones.tta", &["-c:a", "tta"], "tta", "tta"),
        ] {
            let (source, folder) = (tones(name, encoded), tempfile::tempdir().unwrap());
            let mp3 = folder.path().join("out.mp3");
            let first = NativeTranscoder::default().probe(&mut File::open(&source).unwrap());
            assert!(first.map_or(true, |info| info.problem.is_some()), "{name} is none of ffmpeg's");
            let probed = with_ffmpeg().probe(&mut File::open(&source).unwrap()).unwrap();
            let made = transcode(&with_ffmpeg(), &source, &mp3).unwrap();
            for info in [&probed, &made.source] {
                assert_eq!((info.problem.as_ref(), info.audio().unwrap().codec.as_str()), (None, codec), "{name}");
            }
            assert_eq!(made.source.container, container);
            assert_eq!((made.sample_rate, made.channels, made.lost_packets), (48_000, 2, 0), "{name}");
            judge::assert_clean(&mp3);
            assert_eq!(judge::samples(&mp3), made.samples);
            assert!(made.samples.abs_diff(96_000) < 48, "{name}: {} samples", made.samples);
            let snr = judge::snr(&judge::pcm(&source, 48_000, 2), &judge::pcm(&mp3, 48_000, 2));
            assert!(snr > 30.0, "{name}: {snr:.1} dB");
            let tag = std::fs::read(&mp3).unwrap();
            assert!(name == "tones.tta" || tag.windows(5).any(|text| text == b"Tones"), "{name} has lost its title");
        }
    }

    #[test]
    fn sound_that_begins_late_has_silence_in_front() {
        let picture = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2", "-itsoffset", "1"];
        let sound = ["-f", "lavfi", "-i", "sine=sample_rate=48000:duration=1", "-c:a", "truehd", "-strict", "-2"];
        let source = media::make("late.mkv", &[&picture[..], &sound].concat());
        let folder = tempfile::tempdir().unwrap();
        let mp3 = folder.path().join("out.mp3");
        transcode(&with_ffmpeg(), &source, &mp3).unwrap();
        let loud = judge::pcm(&mp3, 48_000, 1).iter().position(|sample| sample.abs() > 0.02).unwrap();
        assert!(loud.abs_diff(48_000) < 200, "it begins at {loud}");
    }

    #[test]
    fn a_playlist_is_none_of_ffmpegs_and_damage_is_damage() {
        let secret = tones("secret.aac", &["-c:a", "aac"]);
        let playlist =
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{}\n#EXT-X-ENDLIST\n", secret.display());
        let concat = format!("ffconcat version 1.0\nfile {}\n", secret.display());
        for text in [playlist, concat] {
            let outcome = with_ffmpeg().probe(&mut Cursor::new(text));
            assert!(matches!(outcome, Err(TranscodeError::UnsupportedContainer { .. })), "{outcome:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let (damaged, mp3) = (folder.path().join("damaged.tta"), folder.path().join("out.mp3"));
        let mut bytes = std::fs::read(tones("tones.tta", &["-c:a", "tta"])).unwrap();
        bytes.truncate(200);
        std::fs::write(&damaged, bytes).unwrap();
        let err = transcode(&with_ffmpeg(), &damaged, &mp3).unwrap_err();
        assert!(matches!(err.code(), "corrupt" | "unsupported_container"), "{err}");
    }

    /// A pair of programs that say that there is sound and then do as they like.
    fn pretending(script: &str, limits: Limits) -> (WithFfmpeg, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let json = r#"{"streams":[{"index":0,"codec_type":"audio"}],"format":{"format_name":"x"}}"#;
        for (name, script) in [("ffprobe", format!("echo '{json}'")), ("ffmpeg", script.to_owned())] {
            let program = folder.path().join(name);
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let transcoder = WithFfmpeg::new(Arc::new(NativeTranscoder::default()), folder.path()).unwrap();
        (WithFfmpeg { limits, ..transcoder }, folder)
    }

    #[test]
    fn a_program_that_hangs_floods_or_fails_ends() {
        let second = Duration::from_secs(1);
        let limits = Limits { output: 1 << 20, ..Limits::default() };
        let source = tones("tones.tta", &["-c:a", "tta"]);
        let counts = "while :; do echo out_time_us=$((n = n + 1)) >&2; done";
        for (script, limits, code) in [
            ("/usr/bin/sleep 1000", Limits { silence: second, ..limits }, "stalled"),
            (counts, Limits { time: second, ..limits }, "time_exceeded"),
            ("while :; do :; done", Limits { cpu: second, ..limits }, "cpu_exceeded"),
            ("/usr/bin/yes", limits, "output_exceeded"),
            ("echo no FLAC", limits, "unsupported_container"),
            ("echo half; echo 'it broke' >&2; exit 1", limits, "corrupt"),
            ("exit 1", limits, "unsupported_container"),
        ] {
            let (transcoder, folder) = pretending(script, limits);
            let err = transcode(&transcoder, &source, &folder.path().join("out.mp3")).unwrap_err();
            assert_eq!(err.code(), code, "{script}: {err}");
        }
    }

    #[test]
    fn cancelling_ends_it() {
        let (transcoder, _folder) = pretending("/usr/bin/sleep 1000", Limits::default());
        let mut asked = 0;
        let mut progress = |_| {
            asked += 1;
            if asked < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let mut source = File::open(tones("tones.tta", &["-c:a", "tta"])).unwrap();
        let sink = &mut Cursor::new(Vec::new());
        let outcome = transcoder.transcode(&mut source, sink, &Options::default(), &mut progress);
        assert!(matches!(outcome, Err(TranscodeError::Cancelled)), "{outcome:?}");
    }

    #[tokio::test]
    async fn its_url_opens_it() {
        let mut registry = Registry::embedded();
        add_ffmpeg(&mut registry);
        let open = async |url: &str| registry.transcoder.open(&url.parse().unwrap()).await;
        assert!(open("ffmpeg:///usr/bin?sandbox=off").await.is_ok());
        assert!(open("ffmpeg:///nowhere?sandbox=off").await.is_err());
    }
}
