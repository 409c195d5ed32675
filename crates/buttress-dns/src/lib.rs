//! Names that never stall a call: cached, refreshed ahead, raced and served stale.

mod answer;
mod error;
mod hint;
mod name;
mod observe;
mod service_record;
mod system;
#[cfg(feature = "upstreams")]
mod upstream;

pub use buttress_core::SettingError;

pub use self::{
    answer::{Answer, Family, IntoAnswer, Learned, Records, Side},
    error::{DnsError, DnsErrorKind},
    hint::{Ahead, ahead, is_ahead},
    name::Name,
    observe::{Fetched, LookedUp, Observer, Queried, Source},
    service_record::{ServiceName, ServiceRecord, ServiceRecords},
    system::System,
};

#[cfg(feature = "upstreams")]
pub use self::upstream::{Privacy, Public, Server, Upstreams};
