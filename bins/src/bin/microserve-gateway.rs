//! The service `microserve-gateway`: uploads, jobs and downloads.

fn main() -> std::process::ExitCode {
    microserve::cli::gateway()
}
