//! The program `code-check`; all of it is in the library.

fn main() -> std::process::ExitCode {
    code_check::main()
}
