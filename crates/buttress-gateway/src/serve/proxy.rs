//! One request from the client to the upstream, and the answer back.

use std::{net::SocketAddr, sync::Arc};

use buttress::balance::Served;
use buttress_limit::concurrency::HeldPermit;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};
use http_body::Body as _;
use http_body_util::Either;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    affinity::HashKey,
    answer::Answer,
    body::ResponseBody,
    cache::{Cached, CachedBody},
    exchange::{Chain, Exchange, InFlight},
    headers::{self, Forwarded},
    host::{canonical, host},
    limits::{self, Inbound},
    overload,
    shutdown::Shutdown,
    socket::Ending,
    stack::Stack,
    tunnel,
    upload::RequestBody,
};

/// What every request is treated with.
pub(crate) struct Proxy {
    pub(crate) preserve_host: bool,
    pub(crate) forwarded: Forwarded,
    pub(crate) hash_key: Option<HashKey>,
    pub(crate) stack: Arc<Stack>,
    pub(crate) inbound: Inbound,
    pub(crate) cached: Cached,
    pub(crate) in_flight: InFlight,
    pub(crate) shutdown: Shutdown,
}

/// What a request must know of the connection it came on.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) peer: SocketAddr,
    pub(crate) ending: Ending,
    /// The connection's place among those that may be open.
    pub(crate) place: Arc<OwnedSemaphorePermit>,
}

/// A change of protocol that the client asks for.
struct Upgrade {
    protocol: HeaderValue,
    client: OnUpgrade,
}

impl Proxy {
    /// Answers a request, whatever happens.
    ///
    /// Dropping the future drops the call to the upstream with it.
    pub(crate) async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        client: Client,
    ) -> Response<ResponseBody<CachedBody>> {
        let mut exchange = Exchange::open(&request, client.peer);
        let speaks_http_1_0 = request.version() == Version::HTTP_10;
        let mut response = match self.inbound.refuse(&mut request, client.peer) {
            Some(refusal) => refusal.map(Either::Left),
            None => match self.pass(request, &client, &mut exchange).await {
                Ok(response) => response.map(Either::Right),
                Err(answer) => answer.into_response().map(Either::Left),
            },
        };
        let received = std::mem::replace(response.version_mut(), Version::HTTP_11);
        headers::add_via(response.headers_mut(), received);

        let body = response.body();
        let ends_with_connection =
            speaks_http_1_0 && !body.is_end_stream() && body.size_hint().exact().is_none();
        let ending = ends_with_connection.then(|| {
            client.ending.begin();
            client.ending
        });
        exchange.answered(response.status(), ending);
        response.map(|body| ResponseBody::new(body, exchange))
    }

    async fn pass(
        &self,
        mut request: Request<Incoming>,
        client: &Client,
        exchange: &mut Exchange,
    ) -> Result<Response<CachedBody>, Answer> {
        check(&request)?;
        exchange.enter(&self.in_flight).map_err(|_| Answer::overloaded())?;
        let may_end_here = matches!(*request.method(), Method::OPTIONS | Method::TRACE);
        if may_end_here && !headers::count_forward(request.headers_mut()) {
            return Err(Answer::last_hop());
        }
        let upgrade = self.rewrite(&mut request, client)?;
        let mut sent = request.map(RequestBody::new);
        if let Some(key) = &self.hash_key {
            key.mark(&mut sent).await;
        }
        let result = match upgrade {
            // A connection that changes its protocol is nobody's to retry.
            Some(_) => self.stack.upgrade(sent).await.map(|sent| sent.map(Either::Right)),
            None => self.cached.send(sent).await,
        };
        let mut response = result.map(limits::undress).map_err(|error| {
            // A refusal is no news, and there may be very many.
            if !overload::is_refusal(&error) {
                tracing::warn!(error = %Chain(&*error), "no answer from an upstream");
            }
            Answer::of_error(&error)
        })?;
        if let Some(served) = response.extensions().get::<Served>() {
            exchange.served(served.endpoint());
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(response, upgrade, client, exchange);
        }
        if headers::has_foreign_coding(response.headers()) {
            return Err(Answer::bad_gateway("the upstream used a transfer coding unasked"));
        }
        if response.headers().contains_key(TRANSFER_ENCODING) {
            // RFC 9112 section 6.3: the length is overridden, and must not be passed on.
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        headers::say_length_once(response.headers_mut());
        headers::remove_hop_by_hop(response.headers_mut());
        Ok(response)
    }

    /// Turns the request that came into the one that goes; says if it asks for another protocol.
    fn rewrite(
        &self,
        request: &mut Request<Incoming>,
        client: &Client,
    ) -> Result<Option<Upgrade>, Answer> {
        let mut host = host(request)?;
        if self.cached.is_on() {
            // The upstream hears the spelling that answers are kept under, and no other.
            host = host.map(canonical);
        }
        let uri = self.stack.aim(request.uri());
        *request.uri_mut() = uri.map_err(|_| Answer::invalid("the request target is invalid"))?;
        let version = std::mem::replace(request.version_mut(), Version::HTTP_11);
        let protocol = headers::upgrade(request.headers(), version);
        let upgrade = protocol
            .map(|protocol| Upgrade { protocol, client: hyper::upgrade::on(&mut *request) });

        let fields = request.headers_mut();
        let accepts_trailers = headers::accepts_trailers(fields);
        headers::remove_hop_by_hop(fields);
        if version == Version::HTTP_2 {
            headers::join_cookies(fields);
        }
        match &upgrade {
            Some(upgrade) => announce(fields, upgrade.protocol.clone()),
            None if accepts_trailers => self.accept_trailers(fields),
            None => {}
        }
        // The cache goes by the host, and takes it off what it sends on.
        let shown = self.preserve_host || (upgrade.is_none() && self.cached.is_on());
        match &host {
            Some(host) if shown => drop(fields.insert(HOST, host.clone())),
            _ => drop(fields.remove(HOST)),
        }
        headers::add_via(fields, version);
        self.forwarded.write(fields, client.peer.ip(), host);
        Ok(upgrade)
    }

    /// Says that trailers are understood. HTTP/1.1 wants that named in `Connection` too; over TLS
    /// the version is not known yet, and HTTP/2 forbids it.
    fn accept_trailers(&self, fields: &mut HeaderMap) {
        fields.insert(TE, HeaderValue::from_static("trailers"));
        if self.stack.speaks_http1_only() {
            fields.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }

    /// Joins the two connections once both have changed their protocol.
    fn switch(
        &self,
        mut response: Response<CachedBody>,
        upgrade: Option<Upgrade>,
        client: &Client,
        exchange: &mut Exchange,
    ) -> Result<Response<CachedBody>, Answer> {
        let Some(upgrade) = upgrade else {
            return Err(Answer::bad_gateway("the upstream changed its protocol unasked"));
        };
        let upstream = hyper::upgrade::on(&mut response);
        let fields = response.headers_mut();
        let protocol = fields.get(UPGRADE).cloned().unwrap_or(upgrade.protocol);
        headers::remove_hop_by_hop(fields);
        announce(fields, protocol);
        let permit = response.extensions_mut().remove::<HeldPermit>();
        let held = (Arc::clone(&client.place), exchange.take_slot(), permit);
        self.shutdown.spawn(async move {
            match tunnel::carry(upgrade.client, upstream).await {
                Ok((sent, received)) => tracing::debug!(sent, received, "tunnel closed"),
                Err(error) => tracing::debug!(error = %Chain(&*error), "tunnel broke off"),
            }
            drop(held);
        });
        Ok(response)
    }
}

/// Refuses what must not or cannot be passed on.
fn check(request: &Request<Incoming>) -> Result<(), Answer> {
    if request.method() == Method::CONNECT {
        return Err(Answer::not_implemented("this gateway is no tunnel: CONNECT is not served"));
    }
    // RFC 9110 section 7.4: it was meant for a connection that is encrypted. Over HTTP/2 a proxy in
    // front that has decrypted it may say so.
    let scheme = request.uri().scheme_str().filter(|_| request.version() != Version::HTTP_2);
    if scheme.is_some_and(|scheme| !scheme.eq_ignore_ascii_case("http")) {
        return Err(Answer::misdirected());
    }
    if headers::has_foreign_coding(request.headers()) {
        return Err(Answer::not_implemented("the only transfer coding served is chunked"));
    }
    if headers::goes_in_circles(request.headers()) {
        return Err(Answer::circle());
    }
    Ok(())
}

fn announce(fields: &mut HeaderMap, protocol: HeaderValue) {
    fields.insert(UPGRADE, protocol);
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
}
