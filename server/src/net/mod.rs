//! The network's side of HTTP: listening, accepting, time limits, reading bodies, stopping.

mod accept;
mod body;
mod stop;
mod stream;

pub use accept::{Limits, Listener};
pub use body::{BodyError, read_body};
pub use stop::Stop;
