//! The program `bench-runner`; everything is in the library.

fn main() -> std::process::ExitCode {
    bench_runner::main()
}
