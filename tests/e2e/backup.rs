//! backup-tool, end to end: real servers, real repositories, and judges that are not ours.

mod basic;
mod pitr;
mod points;
mod proof;
mod recovery;
mod refusals;
mod retention;
#[cfg(feature = "s3")]
mod s3;
mod wal;
