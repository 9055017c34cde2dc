//! The network's side of HTTP: listening, greeting, accepting, time limits, reading bodies, stopping.

mod accept;
mod body;
mod http1;
mod limits;
mod stop;
mod stream;
pub mod tls;

pub use accept::{Listener, Surroundings};
pub use body::{BodyError, BodyReader, read_body};
pub use http1::{HTTP1, http1};
pub use limits::Limits;
pub use stop::Stop;
pub use tls::{Tls, Transport};
