//! Where on the stack a round runs.

use std::hint::black_box;

/// As many steps as there are places that may differ, and a few more.
pub(super) const DEPTHS: u32 = 61;

/// Runs `work` so many steps further down the stack.
///
/// How a stack lies to the lines of the cache is left to chance when a process starts, and decides
/// what it costs to copy a request: the same program took 118 ns in one process and 127 in the next.
/// Where every round runs at another depth, the fastest one is that of the best place, for all cases
/// and in each process alike (Mytkowicz, Diwan, Hauswirth, Sweeney: "Producing Wrong Data Without
/// Doing Anything Obviously Wrong!", ASPLOS 2009).
#[inline(never)]
pub(super) fn at_depth<T>(steps: u32, work: &mut dyn FnMut() -> T) -> T {
    // With what a call takes, no multiple of a line, so that the steps come to all places in one.
    let pad = black_box([0_u8; 48]);
    let done = match steps {
        0 => work(),
        steps => at_depth(steps - 1, work),
    };
    black_box(pad);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_come_to_every_place_in_a_line_that_a_stack_can_have() {
        let place = |steps| at_depth(steps, &mut || std::ptr::from_ref(&black_box(0_u128)).addr());
        let mut places: Vec<_> = (0..DEPTHS).map(|steps| place(steps) % 64).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 4, "{places:?}: of 16 bytes there are four in a line of 64");
    }
}
