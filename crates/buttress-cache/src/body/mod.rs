//! Bodies: out of the store, off the wire, and both at once.

mod error;
mod fill;
mod reader;
mod response;
pub(crate) mod source;
mod wakers;

pub use self::{error::FillError, response::ResponseBody};
pub(crate) use self::{
    fill::{End, Fill, InFlight},
    reader::Reader,
};
