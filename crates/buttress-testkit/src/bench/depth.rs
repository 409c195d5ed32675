//! Where on the stack a round runs.

use std::hint::black_box;

/// Runs `work` where but one round close to this one runs: in each place that a stack can have in a line of
/// the cache, in turn, and further and further down.
///
/// How a stack lies to the lines of the cache is left to chance when a process starts, and decides
/// what it costs to copy a request: the same program took 118 ns in one process and 127 in the next.
/// Where every round runs in another place, the fastest one is that of the best place, for all cases
/// and in each process alike (Mytkowicz, Diwan, Hauswirth, Sweeney: "Producing Wrong Data Without
/// Doing Anything Obviously Wrong!", ASPLOS 2009).
pub(super) fn at_depth<T>(round: u32, work: &mut dyn FnMut() -> T) -> T {
    // Two rounds follow each other in one place: one goes through the cases forwards, one backwards.
    let place = round / 2;
    let mut deep = || deeper(place / 4 % 16, work);
    // A stack is aligned to 16 bytes. However large a frame is, these differ by as much.
    match place % 4 {
        0 => padded::<16, T>(&mut deep),
        1 => padded::<32, T>(&mut deep),
        2 => padded::<48, T>(&mut deep),
        _ => padded::<64, T>(&mut deep),
    }
}

#[inline(never)]
fn padded<const PAD: usize, T>(work: &mut dyn FnMut() -> T) -> T {
    let pad = [0_u8; PAD];
    black_box(&pad);
    let done = work();
    black_box(&pad);
    done
}

/// So many steps of about 256 bytes.
#[inline(never)]
fn deeper<T>(steps: u32, work: &mut dyn FnMut() -> T) -> T {
    let pad = [0_u8; 256];
    black_box(&pad);
    let done = match steps {
        0 => work(),
        steps => deeper(steps - 1, work),
    };
    black_box(&pad);
    done
}
