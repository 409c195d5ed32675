//! A policy of one's own: retries for a protocol that is not HTTP.
//!
//! The requests are the commands of a key-value store. The policy knows three things that no layer
//! can guess: that a busy store does nothing and says when to come back; that a `Get` or a `Set`
//! does no harm twice; and that an `Append` does.
//!
//! Run: `cargo run -p examples --bin own_policy`
//!
//! You see, told by an observer: a `Set` that waits for the busy store, a `Get` whose connection is
//! lost and which goes again, and an `Append` whose connection is lost and which does not.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    collections::HashMap,
    future::Pending,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use buttress_core::{BoxError, Outcome};
use buttress_retry::{
    Delay, Done, Ending, Next, Observer, Policy, Resend, Resent, Retired, RetryLayer, Retrying,
    Verdict,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[derive(Clone, Debug)]
enum Command {
    Get(&'static str),
    Set(&'static str, &'static str),
    Append(&'static str, &'static str),
}

/// What goes over the wire: a command, and which attempt it is.
struct Frame {
    attempt: u32,
    command: Command,
}

enum Reply {
    Value(String),
    Busy { come_back: Duration },
}

#[derive(Clone, Copy)]
struct StorePolicy;

impl Resend<Command> for StorePolicy {
    type Sent = Frame;
    type Backup = Command;

    fn begin(&self, command: Command, again: bool) -> (Frame, Result<Command, Ending>) {
        // Nothing is copied for a layer that makes one attempt only.
        let backup = if again { Ok(command.clone()) } else { Err(Ending::MaxAttempts) };
        (Frame { attempt: 1, command }, backup)
    }

    fn resend(&self, command: Command, next: &Next) -> Resent<Frame, Command> {
        let backup = (!next.last).then(|| command.clone());
        Ok((Frame { attempt: next.attempt, command }, backup))
    }
}

impl Policy<Command, Reply> for StorePolicy {
    type Discard = Pending<()>;

    fn outcome(&self, result: &Result<Reply, BoxError>) -> Outcome {
        match result {
            Ok(Reply::Value(_)) => Outcome::Success,
            Ok(Reply::Busy { .. }) => Outcome::Overloaded,
            Err(error) => Outcome::of_error(&**error),
        }
    }

    fn judge(
        &self,
        command: &Command,
        outcome: Outcome,
        result: &Result<Reply, BoxError>,
    ) -> Verdict {
        match (result, outcome, command) {
            (Ok(Reply::Busy { come_back }), ..) => Verdict::Retry(Delay::AtLeast(*come_back)),
            (_, Outcome::NotSent, _) => Verdict::Retry(Delay::Backoff),
            (_, Outcome::Rejected, _) => Verdict::Return(Ending::NotRetryable),
            (_, _, Command::Append(..)) => Verdict::Return(Ending::NotIdempotent),
            _ => Verdict::Retry(Delay::Backoff),
        }
    }

    fn retire(&self, reply: Reply) -> Retired<Reply, Self::Discard> {
        // A reply holds no connection: it can wait, and be returned if the deadline is too close.
        Retired::Kept(reply)
    }
}

#[derive(Clone, Copy)]
struct Print;

impl Observer for Print {
    fn retry(&self, event: &Retrying<'_>) {
        println!(
            "    attempt {}: {:?}; again in {} ms",
            event.attempt,
            event.outcome,
            event.delay.as_millis()
        );
    }

    fn done(&self, event: &Done) {
        println!("    attempt {}: the end, {}", event.attempts, event.ending.as_str());
    }
}

/// What happens to a command on its way.
#[derive(Clone, Copy)]
enum Fate {
    Served,
    Busy,
    /// The store obeys, and the connection breaks before its reply arrives.
    ReplyLost,
}

/// Stands in for a store and the connection to it.
struct Store {
    values: HashMap<&'static str, String>,
    fates: std::vec::IntoIter<Fate>,
}

impl Store {
    fn obey(&mut self, Frame { attempt, command }: Frame) -> Result<Reply, io::Error> {
        println!("    store: {command:?}, attempt {attempt}");
        let fate = self.fates.next().unwrap_or(Fate::Served);
        if matches!(fate, Fate::Busy) {
            return Ok(Reply::Busy { come_back: Duration::from_millis(100) });
        }
        let value = match command {
            Command::Get(key) => self.values.get(key).cloned().unwrap_or_default(),
            Command::Set(key, value) => {
                self.values.insert(key, value.to_owned());
                value.to_owned()
            }
            Command::Append(key, more) => {
                let value = self.values.entry(key).or_default();
                value.push_str(more);
                value.clone()
            }
        };
        match fate {
            Fate::ReplyLost => Err(io::ErrorKind::ConnectionReset.into()),
            _ => Ok(Reply::Value(value)),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let fates = vec![Fate::Busy, Fate::Served, Fate::ReplyLost, Fate::Served, Fate::ReplyLost];
    let store = Arc::new(Mutex::new(Store { values: HashMap::new(), fates: fates.into_iter() }));
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new(StorePolicy).observer(Print).total_timeout(Duration::from_secs(5)))
        .service(service_fn(move |frame| {
            let reply = store.lock().unwrap_or_else(PoisonError::into_inner).obey(frame);
            async { reply }
        }));

    let commands = [
        Command::Set("wall", "stands"),
        Command::Get("wall"),
        Command::Append("wall", " still"),
        Command::Get("wall"),
    ];
    for command in commands {
        println!("{command:?}");
        match client.clone().oneshot(command).await {
            Ok(Reply::Value(value)) => println!("  = {value}"),
            Ok(Reply::Busy { .. }) => println!("  = busy"),
            Err(error) => println!("  = {error}"),
        }
    }
    Ok(())
}
