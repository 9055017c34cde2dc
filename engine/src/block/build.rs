//! Building a block file: sorted series in, a durable file out.

use super::block_path;
use crate::Error;
use crate::defects;
use crate::io::{File, FileSystem};
use std::path::Path;
use storage_format::block::{BlockWriter, PAGE_SERIES};
use storage_format::catalog::BlockEntry;
use storage_format::model::{Exemplar, Labels, Samples, TimeRange};

/// Where a block's content comes from: series in label order, each with its samples by slice.
pub(crate) trait BlockSource {
    /// The labels of the next series, at most `limit` of them; none at the end. Their samples can be read
    /// until the next call.
    fn next_page(&mut self, limit: usize) -> Result<Vec<Labels>, Error>;
    /// Replaces `into` by the samples inside `slice` of the `place`-th series of the page.
    fn read(&mut self, place: usize, slice: TimeRange, into: &mut Samples) -> Result<(), Error>;
    /// Replaces `into` by all exemplars of the `place`-th series of the page, sorted and without
    /// repetitions. Asked once for each series, in order.
    fn exemplars(&mut self, place: usize, into: &mut Vec<Exemplar>) -> Result<(), Error>;
}

/// Writes block `number`; the file and its name are durable when this returns. `None` when the source has
/// neither samples nor exemplars: no file is left then.
pub(crate) fn build_block(
    fs: &dyn FileSystem,
    dir: &Path,
    number: u64,
    level: u32,
    slices: Vec<TimeRange>,
    source: &mut dyn BlockSource,
) -> Result<Option<BlockEntry>, Error> {
    let built = write_block(fs, dir, number, level, slices, source);
    if built.is_err() {
        // On a full disk what was written would keep it full.
        let _ = fs.remove(&block_path(dir, number).with_extension("tmp"));
    }
    built
}

fn write_block(
    fs: &dyn FileSystem,
    dir: &Path,
    number: u64,
    level: u32,
    slices: Vec<TimeRange>,
    source: &mut dyn BlockSource,
) -> Result<Option<BlockEntry>, Error> {
    let path = block_path(dir, number);
    let temporary = path.with_extension("tmp");
    let io = |operation: &'static str| {
        let path = temporary.clone();
        move |source| Error::Io { path, operation, source }
    };
    let mut file = fs.create(&temporary).map_err(io("create"))?;
    let mut writer = BlockWriter::new(slices);
    let (mut series, mut bytes, mut exemplars) = (0, 0, Vec::new());
    let mut append = |writer: &mut BlockWriter, file: &mut Box<dyn File>| {
        let output = writer.output();
        bytes += output.len() as u64;
        file.append(&output).map_err(io("write"))
    };
    loop {
        let labels = source.next_page(PAGE_SERIES)?;
        if labels.is_empty() {
            break;
        }
        writer.add_page(&labels, &mut |place, slice, samples| source.read(place, slice, samples))?;
        for place in 0..labels.len() {
            source.exemplars(place, &mut exemplars)?;
            writer.add_exemplars(series as u32 + place as u32, &exemplars);
        }
        series += labels.len() as u64;
        append(&mut writer, &mut file)?;
    }
    let Some((min, max)) = writer.time_span() else {
        drop(file);
        fs.remove(&temporary).map_err(io("remove"))?;
        return Ok(None);
    };
    writer.finish();
    append(&mut writer, &mut file)?;
    if !defects::BLOCK_NOT_SYNCED {
        file.sync().map_err(io("fsync"))?;
    }
    drop(file);
    fs.rename(&temporary, &path).map_err(io("rename"))?;
    if !defects::BLOCK_NAME_NOT_SYNCED {
        fs.sync_dir(dir).map_err(io("fsync directory"))?;
    }
    Ok(Some(BlockEntry {
        number,
        rank: number,
        min,
        max,
        level,
        series,
        samples: writer.samples(),
        densest: writer.densest(),
        bytes,
    }))
}
