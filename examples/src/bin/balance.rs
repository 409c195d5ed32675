//! Calls spread over three servers, one of which stops and comes back.
//!
//! `BalanceLayer` around a pooled hyper client: it chooses, leaves out the server that is gone, and
//! sends what could not be sent there to another one.
//!
//! Run: `cargo run -p examples --bin balance`
//!
//! You see who answered, that no call failed, and the set as it is seen from inside: before, while
//! one server is gone, and after it came back and one call found out.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{Router, routing::post};
use buttress_balance::{BalanceLayer, Endpoint, EndpointSet, Event};
use buttress_core::BoxError;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::sleep};
use tower::{Service, ServiceBuilder, ServiceExt};

/// How long the server that is gone is left alone before one call tries it.
const LEFT_ALONE: Duration = Duration::from_millis(500);

/// A server that answers with its name until it is stopped.
struct Named {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Named {
    async fn start(name: &'static str, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let app = Router::new().route("/", post(move || async move { name }));
        let (stop, stopped) = oneshot::channel();
        let serving = axum::serve(listener, app).with_graceful_shutdown(async {
            let _: Result<(), _> = stopped.await;
        });
        Ok(Self { address, stop, task: tokio::spawn(serving.into_future()) })
    }

    async fn stop(self) -> Result<(), BoxError> {
        // If it has stopped already, there is nobody to tell.
        let _: Result<(), ()> = self.stop.send(());
        Ok(self.task.await??)
    }

    fn endpoint(&self, name: &str) -> Result<Endpoint, BoxError> {
        Ok(Endpoint::new(format!("http://{}", self.address))?.name(name))
    }
}

/// Makes calls, none of which is idempotent, and prints who answered.
async fn call<S, B>(client: &S, calls: usize) -> Result<(), BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = http::Response<B>, Error = BoxError> + Clone,
    B: http_body::Body<Error: Into<BoxError>>,
{
    let mut answers = BTreeMap::<String, usize>::new();
    for _ in 0..calls {
        let request = Request::post("/").body(Full::from("an order"))?;
        let response = client.clone().oneshot(request).await?;
        let body = response.into_body().collect().await.map_err(Into::into)?.to_bytes();
        *answers.entry(String::from_utf8(body.into())?).or_default() += 1;
    }
    println!("{calls} calls, answered by {answers:?}, none failed");
    Ok(())
}

fn show(set: &EndpointSet) {
    println!("    {:<6} {:<8} {:>5} {:>8} {:>8}", "name", "state", "picks", "success", "out for");
    for endpoint in set.snapshot() {
        let state = format!("{:?}", endpoint.state);
        let out_for = endpoint.out_for.map_or_else(String::new, |time| format!("{time:?}"));
        let (name, picks) = (endpoint.name, endpoint.picks);
        let success = endpoint.success_rate * 100.0;
        println!("    {name:<6} {state:<8} {picks:>5} {success:>7.0}% {out_for:>8}");
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let north = Named::start("north", anywhere).await?;
    let east = Named::start("east", anywhere).await?;
    let south = Named::start("south", anywhere).await?;
    let set = EndpointSet::new([
        north.endpoint("north")?,
        east.endpoint("east")?,
        south.endpoint("south")?,
    ])?;
    let balance = BalanceLayer::new(set.clone()).least_request().fail_timeout(LEFT_ALONE)?;
    let pooled: Client<HttpConnector, _> = Client::builder(TokioExecutor::new()).build_http();
    let client = ServiceBuilder::new().layer(balance).service(pooled);
    let mut events = set.subscribe();

    call(&client, 300).await?;
    show(&set);

    let address = east.address;
    east.stop().await?;
    println!("east is gone");
    call(&client, 300).await?;
    show(&set);

    let east = Named::start("east", address).await?;
    println!("east is back");
    // When its time is over, a call will try it: at once if that call can be made again, and half as
    // long again later if not.
    if let Some(left) = set.snapshot()[1].out_for {
        sleep(left + LEFT_ALONE / 2).await;
    }
    call(&client, 300).await?;
    show(&set);

    while let Some(event) = events.try_next() {
        match event {
            Event::Ejected { id, .. } => println!("event: {id} was ejected"),
            Event::Readmitted { id, .. } => println!("event: {id} was taken back"),
            _ => {}
        }
    }
    for server in [north, east, south] {
        server.stop().await?;
    }
    Ok(())
}
