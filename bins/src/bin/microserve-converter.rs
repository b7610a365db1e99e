//! The service `microserve-converter`: videos become MP3s.

fn main() -> std::process::ExitCode {
    microserve::cli::converter()
}
