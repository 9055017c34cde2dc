//! Marigram beside its peers on the same bytes: the workload made from a real capture, the senders, what a
//! server process uses, the queries, and the report.
//!
//! Stands outside the import chain and links no server: each is measured as the program its users run. Of the
//! chain it knows the file format alone, to tell a block's data from its index.

pub mod capture;
pub mod disk;
pub mod load;
pub mod queries;
pub mod report;
pub mod run;
pub mod usage;
pub mod workload;
