//! The frequency tables of a group: chosen by the encoder, shared by its series.
//!
//! Where it sits: between prediction and entropy coding. Neighbouring series, the same metric of several
//! targets mostly, leave numbers of the same distribution; one table for all of them saves its description.

use super::rans::{Counts, TOKENS, Table};

/// Bits that a table's description takes, about: three tokens, then five bits for each of its span.
fn description_bits(counts: &Counts) -> f64 {
    let first = counts.iter().position(|n| *n > 0).unwrap_or(0);
    let last = counts.iter().rposition(|n| *n > 0).unwrap_or(0);
    21.0 + 4.5 * (last - first) as f64
}

/// The most tables in a group, which bounds the encoder's work.
pub(super) const MAX_TABLES: usize = 128;

/// The tables of a group, and which of them each series uses.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) tables: Vec<Table>,
    /// For each series asked about, its table and the bits its tokens take with it; `None` where no table
    /// has all of them.
    pub(super) chosen: Vec<Option<(usize, f64)>>,
}

/// A table with the bits each token takes.
struct Priced {
    table: Table,
    prices: [f32; TOKENS],
}

impl Priced {
    fn new(counts: &Counts) -> Self {
        let table = Table::of(counts);
        Self { prices: table.prices(), table }
    }
    fn cost(&self, present: &[(usize, f32)]) -> f64 {
        f64::from(present.iter().map(|(token, n)| n * self.prices[*token]).sum::<f32>())
    }
}

/// The tokens that occur, and how often.
fn present(counts: &Counts) -> Vec<(usize, f32)> {
    counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(token, n)| (token, *n as f32)).collect()
}

impl Tables {
    /// Chooses tables for series with the given token counts, none of them all zero.
    pub(super) fn choose(series: &[&Counts]) -> Self {
        let mut pool: Vec<Priced> = Vec::new();
        let mut members: Vec<Counts> = Vec::new();
        for counts in series {
            let present = present(counts);
            let own = Priced::new(counts);
            let own_bits = own.cost(&present) + description_bits(counts);
            match cheapest(&pool, &present) {
                Some((best, bits)) if bits <= own_bits || pool.len() == MAX_TABLES => {
                    members[best].iter_mut().zip(counts.iter()).for_each(|(sum, n)| *sum += n);
                }
                _ if pool.len() < MAX_TABLES => {
                    pool.push(own);
                    members.push(**counts);
                }
                _ => {}
            }
        }
        // Tables fitted to all their members serve them better than the first one's own.
        let fitted: Vec<Priced> = members.iter().map(Priced::new).collect();
        let mut ids = vec![None; fitted.len()];
        let mut out = Self::default();
        for counts in series {
            out.chosen.push(cheapest(&fitted, &present(counts)).map(|(best, bits)| {
                let id = *ids[best].get_or_insert_with(|| {
                    out.tables.push(fitted[best].table.clone());
                    out.tables.len() - 1
                });
                (id, bits)
            }));
        }
        out
    }
}

fn cheapest(pool: &[Priced], present: &[(usize, f32)]) -> Option<(usize, f64)> {
    let costs = pool.iter().enumerate().map(|(i, table)| (i, table.cost(present)));
    costs.filter(|(_, bits)| bits.is_finite()).min_by(|a, b| a.1.total_cmp(&b.1))
}
