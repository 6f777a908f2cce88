//! The `foldgrad` program; see [`foldgrad::cli`].

fn main() -> std::process::ExitCode {
    foldgrad::cli::main()
}
