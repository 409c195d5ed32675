//! A small gateway made of the Buttress layers, and a rehearsal that shows what they do.
//!
//! Every behaviour here is a layer's; what this crate adds is a command line ([`Cli`]), sockets
//! the rules of an HTTP intermediary ([`serve`]), a busy API to try it on ([`rehearse`]), and a look
//! at where the time of a call goes ([`doctor`]).
//!
//! ```no_run
//! use buttress_gateway::Cli;
//!
//! let cli = Cli::read(["buttress", "serve", "--upstream", "http://127.0.0.1:9000"]);
//! assert!(cli.is_ok());
//! ```

mod cli;
pub mod doctor;
mod log;
pub mod rehearse;
pub mod serve;

pub use cli::{Cli, Command, Stop};
