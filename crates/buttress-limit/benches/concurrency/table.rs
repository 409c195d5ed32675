//! The simulations as a table.

use std::io::{self, Write};

use crate::simulation::{Kind, OUTAGE, OVERLOAD, recovery, run, steady};

const SEED: u64 = 1;

pub(crate) fn print() -> io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let mut out = io::stdout().lock();
    writeln!(out, "20 clients, 400 calls/s; overload: the server can serve 100/s and turning one")?;
    writeln!(out, "away costs it 0.3 of that; outage: it turns away everything for 60 s")?;
    writeln!(out, "{:<30} {:>9} {:>14} {:>12}", "", "served/s", "turned away/s", "recovery s")?;
    let mut kinds = vec![("nothing".to_owned(), Kind::None)];
    for k in [1.1, 1.5, 2.0] {
        kinds.push((format!("ThrottleLayer, k {k}"), Kind::Layer { k }));
    }
    for (k, window) in [(1.5, 30), (2.0, 30), (2.0, 10), (2.0, 120)] {
        kinds.push((format!("plain rule, k {k}, {window} s"), Kind::Plain { k, window }));
    }
    for (name, kind) in kinds {
        let (served, turned_away) = steady(&runtime.block_on(run(OVERLOAD, kind, SEED)));
        let back = recovery(&OUTAGE, &runtime.block_on(run(OUTAGE, kind, SEED)));
        let back = back.map_or_else(|| "> 180".to_owned(), |seconds| seconds.to_string());
        writeln!(out, "{name:<30} {served:>9.1} {turned_away:>14.1} {back:>12}")?;
    }
    writeln!(out)
}
