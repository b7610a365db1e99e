//! The service `microserve-auth`: logins, and the keys that tokens are told by.

fn main() -> std::process::ExitCode {
    microserve::cli::auth()
}
