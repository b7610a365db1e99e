//! The service `microserve-notifier`: mails.

fn main() -> std::process::ExitCode {
    microserve::cli::notifier()
}
