//! The flags that bound what queries may take: size, memory.
//!
//! Memory limits of 0 follow the memory of the machine, or of the control group the process runs in.

use clap::Args;
use std::fs;

/// How large queries may be.
#[derive(Debug, Clone, Args)]
pub struct QueryFlags {
    /// Longest query in bytes.
    #[arg(long = "query.max-length", env = "MARIGRAM_QUERY_MAX_LENGTH", value_name = "BYTES")]
    #[arg(default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub max_length: u32,

    /// Most words and signs (tokens) of a query.
    #[arg(long = "query.max-tokens", env = "MARIGRAM_QUERY_MAX_TOKENS", value_name = "COUNT")]
    #[arg(default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub max_tokens: u32,

    /// Deepest nesting of parentheses, arguments and signs in a query. Chains such as a + b + c + … may be
    /// four times as long.
    #[arg(long = "query.max-nesting", env = "MARIGRAM_QUERY_MAX_NESTING", value_name = "LEVELS")]
    #[arg(default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=128))]
    pub max_nesting: u32,

    /// Memory one query may hold, in MiB; 0: an eighth of the machine's, at least 128 MiB.
    #[arg(long = "query.max-memory-mib", env = "MARIGRAM_QUERY_MAX_MEMORY_MIB", value_name = "MIB")]
    #[arg(default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..1 << 24))]
    pub max_memory_mib: u32,

    /// Memory all queries may hold together, answers being sent included, in MiB; 0: a quarter of the
    /// machine's, at least 256 MiB.
    #[arg(long = "query.max-total-memory-mib", env = "MARIGRAM_QUERY_MAX_TOTAL_MEMORY_MIB")]
    #[arg(default_value_t = 0, value_name = "MIB", value_parser = clap::value_parser!(u32).range(0..1 << 24))]
    pub max_total_memory_mib: u32,
}

impl QueryFlags {
    /// Sets the parser's limits.
    #[must_use]
    pub fn limit(&self, options: query::parse::Options) -> query::parse::Options {
        let nesting = self.max_nesting as usize;
        query::parse::Options {
            length_max: self.max_length as usize,
            tokens_max: self.max_tokens as usize,
            depth_max: nesting,
            tree_depth_max: nesting * 4,
            ..options
        }
    }
    /// Bytes one query may hold, and all together.
    #[must_use]
    pub fn memory(&self) -> (u64, u64) {
        let machine = memory_bytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), &group_limits());
        let or = |mib: u32, default: u64| if mib == 0 { default } else { u64::from(mib) << 20 };
        let total = or(self.max_total_memory_mib, (machine / 4).max(256 << 20));
        (or(self.max_memory_mib, (machine / 8).max(128 << 20)).min(total), total)
    }
}

/// The limits of the control group, of either version; "max" and absurdly large ones mean none.
fn group_limits() -> Vec<String> {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect()
}

/// The least of the machine's memory and the groups' limits, in bytes; 0 when nothing is known.
fn memory_bytes(meminfo: &str, groups: &[String]) -> u64 {
    let total = meminfo.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok()?;
        Some(kib * 1024)
    });
    let groups = groups.iter().filter_map(|text| text.trim().parse::<u64>().ok());
    groups.chain(total).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_least_of_machine_and_group() {
        let meminfo = "MemTotal:        2097152 kB\nMemFree: 1 kB\n";
        let none: [String; 2] = ["max\n".to_owned(), "9223372036854771712\n".to_owned()];
        assert_eq!(memory_bytes(meminfo, &none), 2 << 30);
        assert_eq!(memory_bytes(meminfo, &["536870912\n".to_owned()]), 512 << 20);
        assert_eq!(memory_bytes("", &[]), 0);
    }
}
