//! What is done once an answer is there: learning, settling, headers.

use std::{sync::Arc, task::Poll};

use http::{Request, Response};
use http_body::Body;

use crate::{
    answer::{Answer, Respond},
    body::{Reader, ResponseBody},
    cost::Cost,
    fields,
    head::Head,
    layer::Settings,
    limiter::{Ask, Denied, Limiter, Ticket},
    observer::Observer,
    prepared::PreparedAnswer,
    settle::{Bill, Settlement},
};

impl<R, O: Observer> Settings<R, O> {
    /// The answer to a request that is denied; `None` if that is not enforced.
    #[cold]
    pub(crate) fn refuse<B>(&self, ask: &Ask, denied: Denied, head: &Head<'_>) -> Option<Refusal<B>>
    where
        R: Respond<B>,
    {
        let enforced = self.rules.enforces();
        self.observer.denied(ask.key, &denied, enforced);
        enforced.then(|| self.answer(denied, head))
    }

    pub(crate) fn answer<B>(&self, denied: Denied, head: &Head<'_>) -> Refusal<B>
    where
        R: Respond<B>,
    {
        if !self.rules.marked
            && let Some(prepared) = self.respond.prepared(&denied, head)
        {
            return Refusal::Prepared(prepared);
        }
        let mut response = self.respond.respond(&denied, head);
        if self.rules.marked {
            response.extensions_mut().insert(denied);
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

/// What is left to be done about a request that was let through.
pub(crate) struct Follow<L, R, O> {
    limiter: L,
    settings: Arc<Settings<R, O>>,
    ask: Ask,
    due: Due,
}

enum Due {
    /// The request was not charged.
    Nothing,
    Ticket(Ticket),
    Bill(Bill),
}

impl<L, R, O> Follow<L, R, O>
where
    L: Limiter + Send + Sync + 'static,
    O: Observer + Send + Sync + 'static,
{
    /// `None` if nothing is left to be done.
    #[inline]
    pub(crate) fn up<B>(
        limiter: &L,
        settings: &Arc<Settings<R, O>>,
        ask: Ask,
        ticket: Option<Ticket>,
        request: &mut Request<B>,
    ) -> Option<Box<Self>> {
        if !settings.rules.follows_up() {
            return None;
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
        Some(Box::new(Self { limiter, settings, ask, due }))
    }

    /// What `poll` of the future returns.
    #[inline(never)]
    #[expect(clippy::boxed_local, reason = "it lies in a box; unpacked out of the common path")]
    pub(crate) fn answered<B: Body, E>(
        self: Box<Self>,
        response: Response<B>,
    ) -> Poll<Result<Response<ResponseBody<B>>, E>> {
        Poll::Ready(Ok((*self).follow(response)))
    }

    fn follow<B: Body>(self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        let Self { limiter, settings, ask, due } = self;
        let rules = &settings.rules;
        if let Some(learn) = &rules.learn {
            learn.lessons(&response, |lesson| {
                limiter.learn(ask.key, ask.tier, lesson);
                settings.observer.learned(ask.key, lesson);
            });
        }
        if rules.fields
            && let Some(snapshot) = limiter.peek(&ask)
        {
            fields::of_admission(response.headers_mut(), &snapshot);
            if rules.legacy {
                fields::legacy(response.headers_mut(), &snapshot);
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
