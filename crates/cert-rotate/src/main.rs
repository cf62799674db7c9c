//! The program `cert-rotate`; all of it is in the library.

fn main() -> std::process::ExitCode {
    cert_rotate::main()
}
