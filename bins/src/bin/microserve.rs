//! The all-in-one server and the command line.

fn main() -> std::process::ExitCode {
    microserve::cli::main()
}
