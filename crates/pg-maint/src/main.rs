//! The program `pg-maint`; all of it is in the library.

fn main() -> std::process::ExitCode {
    pg_maint::main()
}
