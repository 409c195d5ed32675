//! A draw by weight in constant time (Vose, "A linear algorithm for generating random numbers with a
//! given distribution", 1991).

/// Columns of equal height, each of them shared by two at most.
#[derive(Debug)]
pub(super) struct Alias(Box<[Column]>);

#[derive(Clone, Copy, Debug)]
struct Column {
    /// Below this part of 2^32 the column belongs to its own number, above to the other one.
    own: u32,
    other: u32,
}

impl Alias {
    /// Prepares draws by `weights`; `None` if all are equal and any number will do.
    pub(super) fn of(weights: &[u32]) -> Option<Self> {
        let first = weights.first()?;
        if weights.iter().all(|weight| weight == first) {
            return None;
        }
        let count = u64::try_from(weights.len()).ok()?;
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        let mut left: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) * count).collect();
        let mut columns: Vec<Column> =
            (0_u32..).take(weights.len()).map(|at| Column { own: u32::MAX, other: at }).collect();
        let (mut low, mut high): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|at| left[*at] < total);
        while let (Some(small), Some(large)) = (low.pop(), high.last().copied()) {
            columns[small] =
                Column { own: part(left[small], total), other: u32::try_from(large).ok()? };
            left[large] -= total - left[small];
            if left[large] < total {
                high.pop();
                low.push(large);
            }
        }
        Some(Self(columns.into()))
    }

    /// The number that a column and a part of its height belong to.
    pub(super) fn at(&self, column: usize, height: u32) -> usize {
        let Some(Column { own, other }) = self.0.get(column) else { return 0 };
        if height < *own { column } else { usize::try_from(*other).unwrap_or(column) }
    }
}

/// `value` of `total`, which is larger, as a part of 2^32.
fn part(value: u64, total: u64) -> u32 {
    u32::try_from((u128::from(value) << 32) / u128::from(total)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_weights_need_no_table() {
        assert!(Alias::of(&[7, 7, 7]).is_none());
    }

    proptest! {
        #[test]
        fn each_owns_its_share_of_the_area(weights in prop::collection::vec(1_u32..=65_535, 2..80)) {
            let Some(alias) = Alias::of(&weights) else { return Ok(()) };
            let mut areas = vec![0_u64; weights.len()];
            for (at, column) in alias.0.iter().enumerate() {
                areas[at] += u64::from(column.own);
                areas[column.other as usize] += (1 << 32) - u64::from(column.own);
            }
            let total: u64 = weights.iter().copied().map(u64::from).sum();
            let all = (weights.len() as f64) * 4_294_967_296.0;
            for (area, weight) in areas.iter().zip(&weights) {
                let exact = f64::from(*weight) / (total as f64);
                prop_assert!((*area as f64 / all - exact).abs() < 1e-8, "{weights:?} {areas:?}");
            }
        }
    }
}
