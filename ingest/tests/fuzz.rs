//! The seeds of the fuzz targets as an ordinary test: every file of `fuzz/corpus` goes through its target, also
//! cut short and with bytes changed.

#[expect(unreachable_pub, reason = "it is the library of the fuzz targets")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::Path;

#[test]
fn seeds_pass_their_targets() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let mut seeds = 0;
        for file in fs::read_dir(corpus.join(name)).expect("each target has seeds") {
            let seed = fs::read(file.expect("a file").path()).expect("a seed can be read");
            target(&seed);
            // As a fuzzer begins: at every cut, and with one byte changed.
            let step = (seed.len() / 64).max(1);
            for at in (0..seed.len()).step_by(step) {
                target(&seed[..at]);
                let mut changed = seed.clone();
                changed[at] ^= 1 << (at % 8);
                target(&changed);
            }
            seeds += 1;
        }
        assert!(seeds > 0, "{name} has no seeds");
    }
}
