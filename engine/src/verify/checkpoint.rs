//! Verifying a head checkpoint: every frame, every series, every chunk.

use super::{FileCheck, Together};
use crate::head::{ChunkKind, decode_chunk};
use storage_format::FormatError;
use storage_format::checkpoint::{self, SeriesEntry, SeriesReader};
use storage_format::exemplars;
use storage_format::model::{Labels, Samples};
use storage_format::wal::record;

pub(super) fn check(bytes: &[u8], file: &mut FileCheck, together: &mut Together) {
    let mut damage = Vec::new();
    let frames = match checkpoint::frames(bytes, &mut damage) {
        Ok(frames) => frames,
        Err(e) => return file.damage(e.offset as u64, e.to_string()),
    };
    for e in damage {
        file.damage(e.offset as u64, e.to_string());
    }
    let (mut series, mut samples, mut metrics) = (0u64, 0u64, 0);
    for frame in frames {
        let mut read = || {
            let payload = checkpoint::unpack(frame.compressed, frame.length)?;
            match payload.split_first() {
                Some((&checkpoint::SERIES, groups)) => {
                    let (mut reader, mut set) = (SeriesReader::new(groups), Vec::new());
                    while reader.next_group()? {
                        while let Some(entry) = reader.next_series(&mut set)? {
                            series += 1;
                            together.defined.insert(entry.id);
                            check_labels(&reader.table().labels(&set))?;
                            samples += check_series(&entry)?;
                            set.clear();
                        }
                    }
                    Ok(())
                }
                Some((&checkpoint::METADATA, entries)) => {
                    metrics += record::read_metadata(entries)?.len();
                    Ok(())
                }
                _ => Err(FormatError::malformed("head checkpoint", 0)),
            }
        };
        if let Err(e) = read() {
            file.malformed(frame.offset as u64, "frame", &e);
        }
    }
    file.content = format!("{series} series, {samples} samples, metadata of {metrics} metrics");
}

/// Names must ascend, and values must not be empty.
pub(super) fn check_labels(labels: &Labels) -> Result<(), FormatError> {
    let (mut before, mut good) = ("", true);
    for (name, value) in labels {
        good &= name > before && !value.is_empty();
        before = name;
    }
    if good { Ok(()) } else { Err(FormatError::malformed("labels of a series", 0)) }
}

/// Decodes all of a series; returns the number of its samples.
fn check_series(entry: &SeriesEntry<'_>) -> Result<u64, FormatError> {
    let malformed = || FormatError::malformed("head checkpoint series", 0);
    exemplars::visit(entry.exemplars, &mut |_, _| {})?;
    let mut samples = Samples::default();
    decode_chunk(entry.open, entry.open_count, ChunkKind::Floats, &mut samples)?;
    let mut count = samples.len() as u64;
    for chunk in &entry.chunks {
        samples.clear();
        let kind = ChunkKind::from_number(chunk.kind).ok_or_else(malformed)?;
        decode_chunk(chunk.bytes, chunk.count, kind, &mut samples)?;
        let times = samples.timestamps.iter().copied().chain(samples.histograms.iter().map(|h| h.0));
        let outside = times.clone().any(|t| t < chunk.min || t > chunk.max);
        if outside || samples.len() != chunk.count as usize {
            return Err(malformed());
        }
        count += u64::from(chunk.count);
    }
    Ok(count)
}
