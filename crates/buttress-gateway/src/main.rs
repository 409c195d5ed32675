//! The binary `buttress`.

use std::{
    env,
    io::{stderr, stdout},
    process::ExitCode,
};

use buttress_gateway::Cli;

fn main() -> ExitCode {
    let Err(stop) = Cli::read(env::args_os()).and_then(Cli::run) else {
        return ExitCode::SUCCESS;
    };
    // Nobody is left to be told if even this fails.
    let _ = stop.tell(stdout(), stderr());
    stop.exit_code().into()
}
