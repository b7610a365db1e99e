//! `microserve demo`: the whole way, with the curl lines of the README.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::{Args, Parser};
use microserve_core::Shutdown;
use microserve_core::account::Email;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::user::{account, make_password};
use super::{Failure, Outcome, print, runtime, say};
use crate::config::{LogFormat, Serve, Stores};
use crate::registry::Registry;
use crate::server::Server;
use crate::telemetry;

/// Show the whole way with curl: a server in a temporary folder, log in, upload, mail, download.
#[derive(Args)]
pub(super) struct Demo {
    /// The video to convert [default: a small sample that comes with microserve]
    video: Option<PathBuf>,
}

const SAMPLE: &[u8] = include_bytes!("../../../examples/media/sample.mp4");

/// The README's lines; `video.mkv` stands for the video there.
pub(crate) const LOGIN: &str = r#"curl -X POST http://mp3converter.com/login -u "$EMAIL:$PASSWORD""#;
pub(crate) const UPLOAD: &str =
    r#"curl -X POST -F "file=@./video.mkv" -H "Authorization: Bearer $TOKEN" http://mp3converter.com/upload"#;
pub(crate) const DOWNLOAD: &str = r#"curl -X GET -H "Authorization: Bearer $TOKEN" --output mp3_download.mp3 "http://mp3converter.com/download?fid=$FID""#;

pub(super) fn run(args: &Demo) -> Outcome {
    telemetry::start_log("warn", LogFormat::Auto);
    let folder = tempfile::Builder::new().prefix("microserve-demo-").tempdir()?;
    let (video, stem) = bring_video(args.video.as_deref(), folder.path())?;
    let runtime = runtime()?;
    let shutdown = Shutdown::new();
    let config = Config::parse_from(["demo"]).serve(folder.path());
    let server = runtime.block_on(Server::start(&config, &Registry::embedded(), &shutdown))?;
    print(&format!("# a server of its own: microserve serve --data {}", config.stores.data.folder.display()))?;

    let mut shell = Shell::new(folder.path(), &server)?;
    let email: Email = "demo@example.com".parse()?;
    let password = make_password()?;
    runtime.block_on(async {
        server.stack.accounts.insert(&account(&email, password.clone(), false).await?).await?;
        Ok::<_, Failure>(())
    })?;
    print(&format!("# an account: microserve user add {email}"))?;
    shell.set("EMAIL", email.as_str());
    shell.set("PASSWORD", password.expose_secret());

    print("\n# 1. log in")?;
    let login = shell.run_json(LOGIN)?;
    shell.set("TOKEN", text(&login, "token")?);
    print("\n# 2. upload the video")?;
    let upload = shell.run_json(&UPLOAD.replace("video.mkv", &video))?;
    let job = text(&upload, "job_id")?.to_owned();
    print("\n# 3. the mail that comes when the MP3 is there")?;
    let mail = wait_for_mail(&config.stores.data.folder.join("mail"))?;
    print(&mail)?;
    let fid = mail.lines().find_map(|line| line.trim_end().strip_prefix("File ID: "));
    let Some(fid) = fid else { return Err(Failure::new(1, format!("job {job} failed: the mail says why"))) };
    shell.set("FID", fid);
    print("# 4. download the MP3")?;
    shell.run(DOWNLOAD)?;

    let mp3 = leave(&folder.path().join("mp3_download.mp3"), &stem)?;
    say(&format!("\nThe MP3 is here: {}", mp3.display()));
    runtime.block_on(server.stop(&shutdown, Duration::from_secs(5)));
    Ok(())
}

/// The defaults of `microserve serve`, as its command line would give them.
#[derive(Parser)]
struct Config {
    #[command(flatten)]
    serve: Serve,
}

impl Config {
    /// Everything embedded in `folder`, on free ports, whatever the environment says.
    fn serve(self, folder: &Path) -> Serve {
        let mut config = self.serve;
        let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        (config.listen, config.process.ops_listen) = (loopback, loopback);
        config.mailing.public_url = Some("http://mp3converter.com".to_owned());
        config.login.keys = None;
        config.stores = Stores::embedded(folder.join("data"));
        config
    }
}

/// Puts the video into the demo's folder under a name that needs no quoting; returns that name and what to call the MP3.
fn bring_video(video: Option<&Path>, folder: &Path) -> Result<(String, String), Failure> {
    let Some(path) = video else {
        std::fs::write(folder.join("sample.mp4"), SAMPLE)?;
        return Ok(("sample.mp4".to_owned(), "sample".to_owned()));
    };
    let failed = |err: io::Error| Failure::new(Failure::FILE, format!("can't open {}: {err}", path.display()));
    let absolute = path.canonicalize().map_err(failed)?;
    let ending = path.extension().and_then(|e| e.to_str()).filter(|e| e.chars().all(|c| c.is_ascii_alphanumeric()));
    let name = format!("video.{}", ending.unwrap_or("bin"));
    #[cfg(unix)]
    std::os::unix::fs::symlink(absolute, folder.join(&name))?;
    #[cfg(not(unix))]
    std::fs::copy(absolute, folder.join(&name))?;
    let stem = path.file_stem().map_or_else(|| "video".to_owned(), |stem| stem.to_string_lossy().into_owned());
    Ok((name, stem))
}

/// Runs lines as somebody would in a shell, and shows them.
struct Shell {
    folder: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Shell {
    /// In this shell, `mp3converter.com` is the demo's server: a curl configuration file says so.
    fn new(folder: &Path, server: &Server) -> io::Result<Self> {
        let port = server.address.port();
        let curlrc = format!(
            "connect-to = \"mp3converter.com:80:127.0.0.1:{port}\"\nsilent\nshow-error\nfail-with-body\nnoproxy = \"*\"\n"
        );
        std::fs::write(folder.join(".curlrc"), curlrc)?;
        Ok(Self { folder: folder.to_owned(), variables: vec![("CURL_HOME", folder.display().to_string())] })
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.variables.push((name, value.to_owned()));
    }

    fn run(&self, line: &str) -> Result<String, Failure> {
        print(&format!("$ {line}"))?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).current_dir(&self.folder).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = command.envs(self.variables.iter().map(|(k, v)| (k, v))).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !text.is_empty() {
            print(text.trim_end())?;
        }
        match output.status.code() {
            Some(0) => Ok(text),
            Some(127) => Err(Failure::new(1, "curl is not installed; the demo shows its lines")),
            _ => Err(Failure::new(1, format!("that line failed: {}", output.status))),
        }
    }

    fn run_json(&self, line: &str) -> Result<Value, Failure> {
        Ok(serde_json::from_str(&self.run(line)?)?)
    }
}

fn text<'a>(answer: &'a Value, key: &str) -> Result<&'a str, Failure> {
    answer[key].as_str().ok_or_else(|| Failure::new(1, format!("the answer has no {key}")))
}

/// Waits for the one mail and returns its readable part.
fn wait_for_mail(folder: &Path) -> Result<String, Failure> {
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_secs(60 * 60) {
        let mail = std::fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path());
        if let Some(path) = mail.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "eml")) {
            return Ok(readable(&std::fs::read_to_string(path)?));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(Failure::new(1, "no mail came within an hour"))
}

/// The headers that people look at, and the text part.
fn readable(mail: &str) -> String {
    let mail = mail.replace("\r\n", "\n");
    let (head, body) = mail.split_once("\n\n").unwrap_or((&mail, ""));
    let headers = head.lines().filter(|line| ["From:", "To:", "Subject:", "Date:"].iter().any(|h| line.starts_with(h)));
    let part = body.split_once("\n\n").map_or(body, |(_, text)| text);
    let text = part.split("\n--=_").next().unwrap_or(part);
    // Quoted-printable, as far as addresses in a text make it show.
    let text = text.replace("=\n", "").replace("=3D", "=");
    format!("{}\n\n{}", headers.collect::<Vec<_>>().join("\n"), text.trim_end())
}

/// Moves the MP3 into the current folder, beside whatever is there.
fn leave(mp3: &Path, stem: &str) -> Result<PathBuf, Failure> {
    for n in 1..1000 {
        let name = if n == 1 { format!("{stem}.mp3") } else { format!("{stem}-{n}.mp3") };
        match std::fs::OpenOptions::new().write(true).create_new(true).open(&name) {
            Ok(mut file) => {
                io::copy(&mut std::fs::File::open(mp3)?, &mut file)?;
                return Ok(PathBuf::from(name));
            }
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) => return Err(Failure::new(Failure::FILE, format!("can't write {name}: {err}"))),
        }
    }
    Err(Failure::new(Failure::EXISTS, format!("there are too many files like {stem}.mp3 here")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_shows_the_readmes_lines() {
        let readme = include_str!("../../../README.md");
        for line in [LOGIN, UPLOAD, DOWNLOAD] {
            assert!(readme.lines().any(|l| l == line), "the README lacks: {line}");
        }
    }
}
