//! The program `redis-maint`; all of it is in the library.

fn main() -> std::process::ExitCode {
    redis_maint::main()
}
