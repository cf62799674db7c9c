//! The program `backup-tool`; all of it is in the library.

fn main() -> std::process::ExitCode {
    backup_tool::main()
}
