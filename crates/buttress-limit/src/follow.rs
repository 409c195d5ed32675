//! What is done once an answer is there: learning, settling, headers.

use std::{sync::Arc, task::Poll};

use http::{Request, Response};
use http_body::Body;

use crate::{
    answer::{Answer, Respond},
    body::{Reader, ResponseBody},
    cost::Cost,
    fields::{self, Left},
    head::Head,
    layer::Settings,
    limiter::{Ask, Denied, Limiter, Ticket},
    observer::Observer,
    prepared::PreparedAnswer,
    settle::{Bill, Settlement},
    snapshot::Snapshot,
};

impl<R, O: Observer> Settings<R, O> {
    /// The answer to a request that is denied; `None` if that is not enforced.
    #[cold]
    pub(crate) fn refuse<B>(
        &self,
        ask: &Ask,
        denied: &Denied,
        head: &Head<'_>,
    ) -> Option<Refusal<B>>
    where
        R: Respond<B>,
    {
        let enforced = self.rules.enforces();
        self.observer.denied(ask.key, denied, enforced);
        enforced.then(|| self.answer(denied, head))
    }

    pub(crate) fn answer<B>(&self, denied: &Denied, head: &Head<'_>) -> Refusal<B>
    where
        R: Respond<B>,
    {
        if !self.rules.marked
            && let Some(prepared) = self.respond.prepared(denied, head)
        {
            return Refusal::Prepared(prepared);
        }
        let mut response = self.respond.respond(denied, head);
        if self.rules.marked {
            response.extensions_mut().insert(denied.clone());
        }
        Refusal::made(response)
    }
}

/// The answer to a request that is not let through, until it is asked for.
pub(crate) enum Refusal<B> {
    Prepared(PreparedAnswer),
    Made(Box<Response<ResponseBody<B>>>),
}

impl<B> Refusal<B> {
    pub(crate) fn made(response: Response<Answer<B>>) -> Self {
        Self::Made(Box::new(response.map(ResponseBody::answer)))
    }

    #[inline]
    pub(crate) fn give(self) -> Response<ResponseBody<B>> {
        match self {
            Self::Prepared(prepared) => prepared.give(ResponseBody::shared),
            Self::Made(response) => *response,
        }
    }
}

/// A request that is let through, and with what.
pub(crate) struct Passed {
    ask: Ask,
    ticket: Option<Ticket>,
    left: Option<Snapshot>,
}

impl Passed {
    /// It stays at what it is charged.
    pub(crate) const fn kept(ask: Ask, left: Option<Snapshot>) -> Self {
        Self { ask, ticket: None, left }
    }

    pub(crate) const fn charged(ticket: Ticket, left: Option<Snapshot>) -> Self {
        Self { ask: *ticket.ask(), ticket: Some(ticket), left }
    }

    /// It was denied, and is let through all the same.
    pub(crate) fn denied(ask: Ask, denied: Denied) -> Self {
        Self { ask, ticket: None, left: denied.into_snapshot() }
    }
}

/// What is left to be done about a request that was let through.
#[expect(
    clippy::large_enum_variant,
    reason = "it lies in a box, for the sake of all other requests"
)]
pub(crate) enum After<L, R, O> {
    /// Its answer says what its one window had left.
    Say(Left),
    /// Whatever else there is.
    Do(Follow<L, R, O>),
}

/// What is to be done with the answer.
pub(crate) struct Follow<L, R, O> {
    limiter: L,
    settings: Arc<Settings<R, O>>,
    ask: Ask,
    due: Due,
    left: Option<Snapshot>,
}

enum Due {
    /// The request was not charged, or stays at what it was.
    Nothing,
    Ticket(Ticket),
    Bill(Bill),
}

impl<L, R, O> After<L, R, O>
where
    L: Limiter + Send + Sync + 'static,
    O: Observer + Send + Sync + 'static,
{
    /// `None` if nothing is.
    #[inline]
    pub(crate) fn of<B>(
        passed: Passed,
        limiter: &L,
        settings: &Arc<Settings<R, O>>,
        request: &mut Request<B>,
    ) -> Option<Box<Self>> {
        let (Passed { ask, ticket, mut left }, rules) = (passed, &settings.rules);
        if !rules.follows_up() {
            return None;
        }
        if !rules.fields {
            left = None;
        }
        if !rules.acts() && !rules.legacy {
            left = match Left::of(left?) {
                Ok(left) => return Some(Box::new(Self::Say(left))),
                Err(several) => Some(several),
            };
        }
        let (limiter, settings) = (limiter.clone(), Arc::clone(settings));
        let due = match ticket {
            None => Due::Nothing,
            Some(ticket) if settings.rules.billed => {
                let bill = bill(limiter.clone(), settings.observer.clone(), ticket);
                request.extensions_mut().insert(bill.clone());
                Due::Bill(bill)
            }
            Some(ticket) => Due::Ticket(ticket),
        };
        Some(Box::new(Self::Do(Follow { limiter, settings, ask, due, left })))
    }

    /// What `poll` of the future returns.
    #[inline(never)]
    #[expect(clippy::boxed_local, reason = "it lies in a box; unpacked out of the common path")]
    pub(crate) fn answered<B: Body, E>(
        self: Box<Self>,
        mut response: Response<B>,
    ) -> Poll<Result<Response<ResponseBody<B>>, E>> {
        Poll::Ready(Ok(match *self {
            Self::Say(left) => {
                left.say(response.headers_mut());
                response.map(ResponseBody::plain)
            }
            Self::Do(follow) => follow.follow(response),
        }))
    }
}

impl<L, R, O> Follow<L, R, O>
where
    L: Limiter + Send + Sync + 'static,
    O: Observer + Send + Sync + 'static,
{
    fn follow<B: Body>(self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        let Self { limiter, settings, ask, due, left } = self;
        let rules = &settings.rules;
        if let Some(learn) = &rules.learn {
            learn.lessons(&response, |lesson| {
                limiter.learn(ask.key, ask.tier, lesson);
                settings.observer.learned(ask.key, lesson);
            });
        }
        if let Some(left) = left {
            fields::of_admission(response.headers_mut(), &left);
            if rules.legacy {
                fields::legacy(response.headers_mut(), &left);
            }
        }
        if let Due::Bill(bill) = &due {
            response.extensions_mut().insert(bill.clone());
        }
        let Some(settle) = &rules.settle else { return response.map(ResponseBody::plain) };
        let pay = pay(limiter, settings.observer.clone(), due);
        let (parts, body) = response.into_parts();
        let body = match settle.answered(&parts, &ask.cost) {
            Settlement::Keep => ResponseBody::plain(body),
            Settlement::Now(actual) => {
                pay(actual);
                ResponseBody::plain(body)
            }
            Settlement::Watch(watch) => {
                ResponseBody::read_along(body, Reader::new(watch, ask.cost, pay))
            }
        };
        Response::from_parts(parts, body)
    }
}

fn bill<L, O>(limiter: L, observer: O, ticket: Ticket) -> Bill
where
    L: Limiter + Send + 'static,
    O: Observer + Send + 'static,
{
    let Ask { key, cost, .. } = *ticket.ask();
    Bill::new(cost, move |actual| {
        limiter.settle(ticket, &actual);
        observer.settled(key, &cost, &actual);
    })
}

fn pay<L, O>(limiter: L, observer: O, due: Due) -> impl FnOnce(Cost) + Send + Sync + 'static
where
    L: Limiter + Send + Sync + 'static,
    O: Observer + Send + Sync + 'static,
{
    move |actual| match due {
        Due::Nothing => {}
        Due::Bill(bill) => drop(bill.settle(actual)),
        Due::Ticket(ticket) => {
            let Ask { key, cost, .. } = *ticket.ask();
            limiter.settle(ticket, &actual);
            observer.settled(key, &cost, &actual);
        }
    }
}

/// A charge that is refunded unless the inner service is called.
pub(crate) struct Charge<L: Limiter> {
    limiter: L,
    ticket: Option<Ticket>,
}

impl<L: Limiter> Charge<L> {
    pub(crate) const fn new(limiter: L) -> Self {
        Self { limiter, ticket: None }
    }

    pub(crate) const fn limiter(&self) -> &L {
        &self.limiter
    }

    pub(crate) fn set(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
    }

    pub(crate) const fn take(&mut self) -> Option<Ticket> {
        self.ticket.take()
    }
}

impl<L: Limiter> Drop for Charge<L> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.limiter.settle(ticket, &Cost::FREE);
        }
    }
}
