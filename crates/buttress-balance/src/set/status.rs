//! What an endpoint is like, for people.

use std::time::Duration;

use http::Uri;

use crate::{Endpoint, EndpointId, Moment, node::Node};

/// What an endpoint is like at one moment.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointStatus {
    /// Its number.
    pub id: EndpointId,
    /// The name it is shown by.
    pub name: String,
    /// Its URI.
    pub uri: Uri,
    /// Its zone, if it was told.
    pub zone: Option<String>,
    /// Its weight.
    pub weight: u32,
    /// Its row: 0 is used first.
    pub priority: u8,
    /// Whether it takes calls.
    pub state: State,
    /// Calls in flight, streams that are still read included.
    pub in_flight: u32,
    /// The most calls that may be in flight, set or learned.
    pub max_in_flight: Option<u32>,
    /// The faded average of the time to the head of a successful response.
    pub latency: Option<Duration>,
    /// The share of good answers lately, from 0 to 1.
    pub success_rate: f32,
    /// How long it is still left out, if it is.
    pub out_for: Option<Duration>,
    /// Calls that ever went there.
    pub picks: u64,
}

/// Whether an endpoint takes calls.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It does.
    InUse,
    /// Its failures put it out of use.
    Ejected,
    /// One call is trying whether it is back.
    Probed,
    /// Its server asked to be left alone.
    Held,
    /// Active checks found it down.
    Down,
    /// It takes no further calls and finishes those it has.
    Draining,
}

impl EndpointStatus {
    pub(super) fn of(endpoint: &Endpoint, node: &Node, draining: bool, now: Moment) -> Self {
        let held = node.held_until(now).map(|until| until.saturating_sub(now.as_millis()));
        let due_in = node.health().ejected_for(now.as_millis());
        let state = match due_in {
            _ if draining => State::Draining,
            _ if node.is_down() => State::Down,
            Some(_) => State::Ejected,
            None if !node.health().in_use() => State::Probed,
            None if held.is_some() => State::Held,
            None => State::InUse,
        };
        let most = node.is_limited().then(|| node.most_in_flight());
        Self {
            id: node.id,
            name: endpoint.shown_as().to_owned(),
            uri: endpoint.uri().clone(),
            zone: endpoint.in_zone().map(str::to_owned),
            weight: endpoint.weight,
            priority: endpoint.priority,
            state,
            in_flight: u32::try_from(node.load().in_flight()).unwrap_or(u32::MAX),
            max_in_flight: most.and_then(|most| u32::try_from(most).ok()),
            latency: node.latency().value().map(Duration::from_secs_f32),
            success_rate: node.success().at(now),
            out_for: due_in.or(held).map(Duration::from_millis),
            picks: node.load().picks(),
        }
    }
}
