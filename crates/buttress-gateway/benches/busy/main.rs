//! The rehearsal's busy API with three endpoints, in virtual time and for many seeds: what the layers
//! make of it, beside the recipe of nginx that leaves no endpoint out, and what the slots could give.
//!
//! `cargo bench -p buttress-gateway --bench busy`; `-- --quick` for fewer seeds. One run of the
//! rehearsal sees a dozen spells, of which a recipe may have good luck or bad; this sees thousands.
//! It fails if more than one call in two thousand fails, or less than 99.8 % of the slots' time is used.
//!
//! A body that is a stream only the retry layer can send again; each refused call then comes back to the
//! balancer in the turn that it kept. nginx is a likeness: the fewest calls under way, the next one on 503,
//! three in all.

mod clients;
mod world;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use tokio::runtime;

use self::{
    clients::{Layers, LeastConn},
    world::{Figures, Way, World},
};

fn main() -> io::Result<ExitCode> {
    let has = |option: &str| std::env::args().any(|argument| argument == option);
    // Without cargo's `--bench` it is a test run that only sees whether it works.
    let (seeds, judged) = match (has("--bench") && !has("--test"), has("--quick")) {
        (true, false) => (60, true),
        (true, true) => (10, true),
        (false, _) => (1, false),
    };
    let mut stdout = io::stdout();
    writeln!(stdout, "seeds 1 to {seeds}, 15 s and then 30 s measured of each")?;
    writeln!(stdout, "{:24}{}", "", Figures::HEAD)?;
    let ours = play(seeds, Layers::new)?;
    writeln!(stdout, "{:24}{ours}", "Buttress")?;
    let streams = play(seeds, Layers::for_streams)?;
    writeln!(stdout, "{:24}{streams}", "for bodies as streams")?;
    writeln!(stdout, "{:24}{}", "like nginx, max_fails=0", play(seeds, LeastConn::new)?)?;
    let met = [ours, streams].iter().all(|all| all.failed() <= 0.000_5 && all.used() >= 0.998);
    if judged && !met {
        writeln!(stdout, "MISSED: more calls failed than one in 2000, or slots were idle")?;
    }
    Ok(if met || !judged { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays every seed with a client that `client` makes for its world.
fn play<W: Way>(seeds: u64, client: impl Fn(&World) -> io::Result<W>) -> io::Result<Figures> {
    let mut all = Figures::default();
    for seed in 1..=seeds {
        let paused =
            runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        all += paused.block_on(async {
            let world = World::new(seed)?;
            world.play(client(&world)?).await
        })?;
    }
    Ok(all)
}
