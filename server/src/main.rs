//! The `marigram` binary: reads the command line and runs the server, or what else it asks for.

use server::command::Command;
use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let flags = match Command::read(std::env::args_os()) {
        Ok(Command::Serve(flags)) => *flags,
        Ok(Command::Verify(args)) => return server::verify::run(&args),
        // Help and version come this way too, with exit code 0.
        Err(told) => told.exit(),
    };
    match server::serve::run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Plain, not as a log line: it is the answer to a command. Nobody is there when it cannot be told.
            let _ = writeln!(io::stderr(), "marigram: {why}");
            ExitCode::FAILURE
        }
    }
}
