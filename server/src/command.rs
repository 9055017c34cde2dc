//! The command line as a whole: the server, unless a subcommand asks for something else.
//!
//! The server is what `marigram` without a subcommand is, with the flags it always had. Subcommands have
//! modules of their own.

use crate::flags::Flags;
use crate::verify;
use clap::{CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// What a command line asks for.
#[derive(Debug, Clone)]
pub enum Command {
    /// Run the server.
    Serve(Box<Flags>),
    /// Look at a data directory for damage.
    Verify(verify::Args),
}

impl Command {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// When it is not one, or asks for `--help` or `--version`.
    pub fn read<I, T>(args: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let command = Flags::command()
            .args_conflicts_with_subcommands(true)
            .subcommand(verify::Args::command())
            .subcommand_help_heading("Other commands than running the server");
        let matches = command.try_get_matches_from(args)?;
        match matches.subcommand() {
            Some(("verify", matches)) => verify::Args::from_arg_matches(matches).map(Self::Verify),
            _ => Flags::of(&matches).map(|flags| Self::Serve(Box::new(flags))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Command, clap::Error> {
        Command::read(std::iter::once("marigram").chain(args.iter().copied()))
    }

    #[test]
    fn the_server_is_the_default() {
        assert!(matches!(read(&[]), Ok(Command::Serve(_))));
        let Ok(Command::Serve(flags)) = read(&["--storage.tsdb.path=x"]) else { panic!("the server") };
        assert_eq!(flags.shown["storage.tsdb.path"], "x");
    }

    #[test]
    fn subcommands_have_their_own_flags() {
        let Ok(Command::Verify(args)) = read(&["verify", "--storage.tsdb.path", "x", "--json"]) else {
            panic!("a subcommand")
        };
        assert!(args.json && args.path.ends_with("x"));
        assert!(read(&["verify", "--web.listen-address=127.0.0.1:1"]).is_err());
        assert!(read(&["frobnicate"]).is_err());
        assert!(read(&["--help"]).is_err_and(|told| told.to_string().contains("verify")));
    }
}
