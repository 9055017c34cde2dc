//! Support for the benches: workloads from the real capture, peers, reports.
