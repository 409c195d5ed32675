//! The resolvers under the layer, their types forgotten: a lookup that is not in the cache can
//! afford a box.

use std::{fmt, future::poll_fn, pin::Pin, sync::Arc};

use buttress_core::BoxError;
use hyper_util::client::legacy::connect::dns::Name as Host;
use tower_service::Service;

use crate::{Answer, DnsError, IntoAnswer, Name};

/// A resolver of any type.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<dyn Ask>);

type Asking = Pin<Box<dyn Future<Output = Result<Answer, DnsError>> + Send>>;

trait Ask: Send + Sync {
    fn ask(&self, host: Host) -> Asking;
}

struct Of<S>(S);

impl<S> Ask for Of<S>
where
    S: Service<Host> + Clone + Send + Sync + 'static,
    S::Response: IntoAnswer,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    fn ask(&self, host: Host) -> Asking {
        let mut resolver = self.0.clone();
        Box::pin(async move {
            let failed = |error: S::Error| DnsError::from_resolver(error);
            poll_fn(|cx| resolver.poll_ready(cx)).await.map_err(failed)?;
            resolver.call(host).await.map(IntoAnswer::into_answer).map_err(failed)
        })
    }
}

impl Resolver {
    pub(crate) fn new<S>(resolver: S) -> Self
    where
        S: Service<Host> + Clone + Send + Sync + 'static,
        S::Response: IntoAnswer,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        Self(Arc::new(Of(resolver)))
    }

    pub(crate) async fn ask(&self, name: &Name) -> Result<Answer, DnsError> {
        let host = name.to_question().parse().map_err(DnsError::from_resolver)?;
        self.0.ask(host).await
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}
