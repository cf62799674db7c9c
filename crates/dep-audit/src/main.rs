//! The program `dep-audit`; all of it is in the library.

fn main() -> std::process::ExitCode {
    dep_audit::main()
}
