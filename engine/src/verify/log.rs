//! Verifying a log segment: every frame, every record.

use super::checkpoint::check_labels;
use super::{FileCheck, Together};
use hashbrown::HashMap;
use storage_format::FormatError;
use storage_format::chunk::histogram;
use storage_format::exemplars;
use storage_format::label_table::LabelTable;
use storage_format::model::Timestamp;
use storage_format::tombstone::read_tombstone;
use storage_format::wal::frame::{Found, Frames, parse_segment_header};
use storage_format::wal::record::{self, BatchVisitor};

/// `next`: where the next segment begins; `from`: where replay begins.
pub(super) fn check(
    bytes: &[u8],
    base: u64,
    next: Option<u64>,
    from: u64,
    file: &mut FileCheck,
    together: &mut Together,
) {
    match parse_segment_header(bytes) {
        Err(e) => file.damage(e.offset as u64, e.to_string()),
        Ok(told) if told != base => file.damage(8, format!("its header says log position {told:x}")),
        Ok(_) => {}
    }
    let mut frames = Frames::without_header(bytes, base);
    let (mut records, mut samples) = (0, Seen::default());
    loop {
        let (offset, position) = (frames.offset() as u64, frames.log_position());
        let Some(found) = frames.next() else { break };
        let read_over = next.is_some_and(|next| position >= next);
        match found {
            Found::Record { record_type, payload, .. } => {
                records += 1;
                samples.counts = position >= from;
                if let Err(e) = check_record(record_type, payload, &mut samples) {
                    file.malformed(offset, "record", &e);
                }
            }
            Found::Damaged { .. } if !read_over => file.damage(offset, "a record fails its checksum"),
            Found::Garbage { length, followed } if !read_over && (followed || next.is_some()) => {
                file.damage(offset, format!("{length} bytes are no record"));
            }
            Found::Garbage { length, .. } if !read_over => {
                let text =
                    "are no record: a write cut short by a crash before it was acknowledged, or damage";
                file.damage(offset, format!("the last {length} bytes {text}"));
            }
            Found::Damaged { .. } | Found::Garbage { .. } => {
                file.notice(format!(
                    "from byte {offset} on read over after a crash; the log goes on elsewhere"
                ));
            }
        }
    }
    file.content = format!("{records} records, {} samples", samples.samples);
    together.defined.extend(samples.defined);
    together.samples.push((file.path.clone(), samples.by_series));
}

fn check_record(record_type: u8, payload: &[u8], seen: &mut Seen) -> Result<(), FormatError> {
    match record_type {
        record::BATCH | record::DEFINITIONS => record::visit_batch(payload, seen)?,
        record::EXEMPLARS => exemplars::visit(payload, &mut |_, _| {})?,
        record::METADATA => drop(record::read_metadata(payload)?),
        record::DELETE => drop(read_tombstone(payload)?),
        _ => return Err(FormatError::malformed("record of unknown type", 12)),
    }
    seen.error.take().map_or(Ok(()), Err)
}

/// What the records say.
#[derive(Default)]
struct Seen {
    defined: Vec<u64>,
    /// Samples of each series, of records that replay reads.
    by_series: HashMap<u64, u64>,
    counts: bool,
    samples: u64,
    error: Option<FormatError>,
}

impl Seen {
    fn sample(&mut self, id: u64) {
        self.samples += 1;
        if self.counts {
            *self.by_series.entry(id).or_default() += 1;
        }
    }
}

impl BatchVisitor for Seen {
    fn define(&mut self, id: u64, table: &LabelTable<'_>, set: &[u32]) {
        self.defined.push(id);
        if let Err(e) = check_labels(&table.labels(set)) {
            self.error.get_or_insert(e);
        }
    }

    fn float(&mut self, id: u64, _: Timestamp, _: Timestamp, _: f64) {
        self.sample(id);
    }

    fn histogram(&mut self, id: u64, _: Timestamp, _: Timestamp, chunk: &[u8]) {
        self.sample(id);
        let mut samples = Vec::new();
        let error = match histogram::decode(chunk, &mut samples) {
            Ok(()) if samples.len() == 1 => return,
            Ok(()) => FormatError::malformed("histogram of a record", 0),
            Err(e) => e,
        };
        self.error.get_or_insert(error);
    }
}
