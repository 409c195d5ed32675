//! Which servers are asked, and in which order.

use std::time::Duration;

use super::{health::Standing, upstreams::Privacy};

/// One server, as far as the order goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) standing: Standing,
    pub(super) encrypted: bool,
    /// How long ago it was last asked; `None` for never.
    pub(super) asked: Option<Duration>,
}

/// Servers that are asked together, best first. The second lot is asked only if all of the first
/// have failed, the third only after the second.
///
/// With `explore`, the second place of a lot goes to the server that was not asked for longest, so
/// that one that has become fast is found out.
pub(super) fn order(candidates: &[Candidate], privacy: Privacy, explore: bool) -> Vec<Vec<usize>> {
    let lot = |candidate: &Candidate| match privacy {
        Privacy::Opportunistic => {
            let cooling = matches!(candidate.standing, Standing::Cooling(_));
            2 * u8::from(cooling) + u8::from(!candidate.encrypted)
        }
        Privacy::Strict | Privacy::Indifferent => 0,
    };
    let mut lots = Vec::new();
    for number in 0..4 {
        let chosen = candidates.iter().enumerate().filter(|(_, one)| lot(one) == number);
        let mut chosen: Vec<(usize, &Candidate)> = chosen.collect();
        chosen.sort_by_key(|(_, candidate)| rank(candidate.standing));
        second_place(&mut chosen, explore);
        if !chosen.is_empty() {
            lots.push(chosen.into_iter().map(|(at, _)| at).collect());
        }
    }
    lots
}

/// What is unknown comes first, or it would stay so; what cools down comes last.
const fn rank(standing: Standing) -> (u8, Duration) {
    match standing {
        Standing::Unknown => (0, Duration::ZERO),
        Standing::Takes(time) => (1, time),
        Standing::Recovering => (2, Duration::ZERO),
        Standing::Cooling(left) => (3, left),
    }
}

fn second_place(chosen: &mut [(usize, &Candidate)], explore: bool) {
    let recovering = |one: &(usize, &Candidate)| one.1.standing == Standing::Recovering;
    let probed = chosen.iter().position(recovering).or_else(|| {
        let works = |one: &(usize, &Candidate)| matches!(one.1.standing, Standing::Takes(_));
        let others = chosen.iter().enumerate().skip(1).filter(|(_, one)| works(one));
        let longest = others.max_by_key(|(_, one)| one.1.asked)?;
        explore.then_some(longest.0)
    });
    if let Some(probed) = probed
        && probed > 1
        && let Some(places) = chosen.get_mut(1..=probed)
    {
        places.rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn takes(ms: u64) -> Standing {
        Standing::Takes(Duration::from_millis(ms))
    }

    fn plain(standing: Standing) -> Candidate {
        Candidate { standing, encrypted: false, asked: Some(Duration::ZERO) }
    }

    fn encrypted(standing: Standing) -> Candidate {
        Candidate { encrypted: true, ..plain(standing) }
    }

    const COOLING: Standing = Standing::Cooling(Duration::from_secs(1));

    #[test]
    fn the_unknown_come_first_then_the_fast_and_the_failing_last() {
        let all = [plain(takes(20)), plain(COOLING), plain(takes(10)), plain(Standing::Unknown)];
        assert_eq!(order(&all, Privacy::Indifferent, false), [[3, 2, 0, 1]]);
    }

    #[test]
    fn what_was_left_alone_for_long_enough_is_tried_beside_the_best() {
        let all =
            [plain(takes(30)), plain(takes(20)), plain(takes(10)), plain(Standing::Recovering)];
        assert_eq!(order(&all, Privacy::Strict, false), [[2, 3, 1, 0]]);
        assert_eq!(order(&[plain(Standing::Recovering)], Privacy::Strict, false), [[0]]);
    }

    #[test]
    fn now_and_then_the_one_not_asked_for_longest_is_tried_beside_the_best() {
        let asked =
            |ms, secs| Candidate { asked: Some(Duration::from_secs(secs)), ..plain(takes(ms)) };
        let all = [asked(10, 0), asked(20, 1), asked(30, 500), asked(40, 2)];
        assert_eq!(order(&all, Privacy::Indifferent, false), [[0, 1, 2, 3]]);
        assert_eq!(order(&all, Privacy::Indifferent, true), [[0, 2, 1, 3]]);
    }

    #[test]
    fn plain_servers_are_a_last_resort_beside_encrypted_ones() {
        let all = [plain(takes(1)), encrypted(takes(50)), encrypted(Standing::Unknown)];
        assert_eq!(order(&all, Privacy::Opportunistic, false), [vec![2, 1], vec![0]]);
        assert_eq!(order(&all, Privacy::Indifferent, false), [vec![2, 0, 1]]);
        let all = [plain(takes(1)), encrypted(COOLING), plain(COOLING)];
        assert_eq!(order(&all, Privacy::Opportunistic, false), [vec![0], vec![1], vec![2]]);
    }
}
