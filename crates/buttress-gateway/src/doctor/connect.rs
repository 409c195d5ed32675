//! Opens connections and closes them again, to see how long that takes and how often it fails.

use std::net::{IpAddr, SocketAddr};

use futures_util::future::join_all;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    arguments::Plan,
    findings::Connect,
    times::Series,
    trouble::{Kind, Trouble},
};

/// Addresses that are tried.
const MOST_ADDRESSES: usize = 8;

/// Failures without any success after which an address is given up.
const ENOUGH: u32 = 2;

/// All addresses at the same time, and one connection after another to each.
pub(super) async fn all(plan: &Plan, addresses: &[IpAddr]) -> Vec<Connect> {
    let port = plan.target.port;
    let chosen = addresses.iter().take(MOST_ADDRESSES);
    join_all(chosen.map(|&address| to(plan, SocketAddr::new(address, port)))).await
}

async fn to(plan: &Plan, address: SocketAddr) -> Connect {
    let mut series = Series::default();
    let mut trouble = None;
    let mut failures = 0;
    for _ in 0..plan.connects {
        if plan.is_over() || (failures >= ENOUGH && !series.worked()) {
            break;
        }
        let start = Instant::now();
        match open(plan, address).await {
            Ok(_) => series.took(start.elapsed()),
            Err(error) => {
                series.failed();
                failures += 1;
                trouble = Some(error);
            }
        }
    }
    Connect { address, times: series.times(), trouble }
}

/// One connection, within the time for a step.
pub(super) async fn open(plan: &Plan, address: SocketAddr) -> Result<TcpStream, Trouble> {
    match timeout(plan.patience(), TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // Without it a small request may wait for an acknowledgement.
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Trouble::late("connection")),
    }
}

/// The addresses that let us in, fastest first.
pub(super) fn reachable(connects: &[Connect]) -> Vec<SocketAddr> {
    let timed = |connect: &Connect| Some((connect.times.p50_ms()?, connect.address));
    let mut open: Vec<_> = connects.iter().filter_map(timed).collect();
    open.sort_by(|one, other| one.0.total_cmp(&other.0));
    open.into_iter().map(|(_, address)| address).collect()
}

/// Whether this machine itself is why nothing can be opened.
pub(super) fn is_ours(kind: Kind) -> bool {
    matches!(kind, Kind::NoRoute | Kind::Exhausted)
}
