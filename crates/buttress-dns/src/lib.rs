//! Names that never stall a call: cached, refreshed ahead, raced and served stale.

mod answer;
mod error;
mod name;
mod observe;
mod service_record;

pub use buttress_core::SettingError;

pub use self::{
    answer::{Answer, Family, IntoAnswer, Learned, Records, Side},
    error::{DnsError, DnsErrorKind},
    name::Name,
    observe::{Fetched, LookedUp, Observer, Queried, Source},
    service_record::{ServiceName, ServiceRecord, ServiceRecords},
};
