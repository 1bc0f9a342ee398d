//! The `pointsman` command as the system tests run it: built with them, so never a stale one.

fn main() -> std::process::ExitCode {
    pointsman::main()
}
