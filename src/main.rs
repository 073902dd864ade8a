//! The program: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    counter_api::cli::main(std::env::args_os())
}
