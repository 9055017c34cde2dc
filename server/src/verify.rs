//! `marigram verify`: looks at every byte of a data directory and says what is damaged. The engine looks,
//! this prints.
//!
//! Exit codes: 0 no damage, 1 damage, 2 it could not be looked at.

use crate::wire::json::Json;
use clap::Parser;
use engine::io::{Disk, FileSystem};
use engine::verify::{FileCheck, Progress, Verification, verify};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Look at every file of a data directory for damage. Reads only. The server must not be running on it; of
/// one that runs, a snapshot can be verified. Exit code 0: no damage, 1: damage, 2: could not look.
#[derive(Debug, Clone, Parser)]
#[command(name = "verify", next_line_help = true, max_term_width = 100)]
pub struct Args {
    /// The data directory.
    #[arg(long = "storage.tsdb.path", env = "MARIGRAM_STORAGE_TSDB_PATH", value_name = "DIR")]
    #[arg(default_value = "./data")]
    pub path: PathBuf,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Verifies and prints.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let told = Mutex::new(Instant::now());
    let tell = |progress: Progress| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= TELL_EVERY {
            *told = Instant::now();
            let Progress { files, files_total, bytes, bytes_total } = progress;
            let (done, all) = (bytes >> 20, bytes_total >> 20);
            // Nobody is there when it cannot be told.
            let _ = writeln!(io::stderr(), "verified {files} of {files_total} files, {done} of {all} MiB");
        }
    };
    let fs: Arc<dyn FileSystem> = Arc::new(Disk);
    let verification = match verify(&fs, &args.path, &tell) {
        Ok(verification) => verification,
        Err(why) => {
            let _ = writeln!(io::stderr(), "marigram: cannot verify: {why}");
            return ExitCode::from(2);
        }
    };
    let text = if args.json { json(&args.path, &verification) } else { table(&args.path, &verification) };
    if io::stdout().write_all(&text).is_err() {
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(verification.damages() > 0))
}

/// The file's name inside of the directory.
fn name<'a>(dir: &Path, file: &'a FileCheck) -> std::borrow::Cow<'a, str> {
    file.path.strip_prefix(dir).unwrap_or(&file.path).to_string_lossy()
}

fn table(dir: &Path, verification: &Verification) -> Vec<u8> {
    let mut rows = vec![["file", "kind", "bytes", "holds", "state"].map(str::to_owned)];
    let mut told = String::new();
    for file in &verification.files {
        let damages = file.findings.iter().filter(|finding| finding.damage).count();
        let state = match (damages, file.findings.len()) {
            (0, 0) => "good".to_owned(),
            (0, _) => "see below".to_owned(),
            (1, _) => "DAMAGED".to_owned(),
            (n, _) => format!("DAMAGED ({n} places)"),
        };
        let name = name(dir, file);
        rows.push([
            name.to_string(),
            file.kind.to_owned(),
            file.bytes.to_string(),
            file.content.clone(),
            state,
        ]);
        for finding in &file.findings {
            let word = if finding.damage { "damage" } else { "note" };
            let place = finding.offset.map_or_else(String::new, |at| format!(", byte {at}"));
            told.push_str(&format!("{word}: {name}{place}: {}\n", finding.what));
        }
    }
    let widths: [usize; 5] =
        std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            let width = widths[i];
            // Numbers are read from the right.
            let cell = if i == 2 { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            line.push_str(&cell);
            line.push_str("  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let (files, bytes) = (verification.files.len(), verification.files.iter().map(|f| f.bytes).sum::<u64>());
    let damaged = verification.files.iter().filter(|f| f.findings.iter().any(|f| f.damage)).count();
    let verdict = match verification.damages() {
        0 => "no damage".to_owned(),
        n => format!("{n} damaged places in {damaged} files"),
    };
    format!("{out}\n{told}{files} files, {bytes} bytes: {verdict}\n").into_bytes()
}

fn json(dir: &Path, verification: &Verification) -> Vec<u8> {
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut json = Json::default();
    json.object(|o| {
        o.key("path").string(&dir.to_string_lossy());
        o.key("damages").integer(whole(verification.damages() as u64));
        o.key("files").array(|a| {
            for file in &verification.files {
                a.object(|o| {
                    o.key("file").string(&name(dir, file));
                    o.key("kind").string(file.kind);
                    o.key("bytes").integer(whole(file.bytes));
                    o.key("holds").string(&file.content);
                    o.key("findings").array(|a| {
                        for finding in &file.findings {
                            a.object(|o| {
                                o.key("damage").boolean(finding.damage);
                                if let Some(offset) = finding.offset {
                                    o.key("byte").integer(whole(offset));
                                }
                                o.key("what").string(&finding.what);
                            });
                        }
                    });
                });
            }
        });
    });
    let mut out = json.into_bytes();
    out.push(b'\n');
    out
}
