//! The settings of the client that need endpoints.

use buttress_balance::{BalanceLayer, EndpointSet};

use super::Setup;

impl<L, B> Setup<L, B> {
    /// Spreads calls over the endpoints of `set`, with the defaults of [`BalanceLayer`]; for other
    /// settings there is [`balance`](Self::balance).
    ///
    /// A request names the path alone, or any authority: the endpoint's takes its place.
    ///
    /// ```
    /// use buttress::{Client, Endpoint, EndpointSet};
    ///
    /// # fn main() -> Result<(), buttress::BoxError> {
    /// let set = EndpointSet::new([
    ///     Endpoint::new("http://10.0.0.1:8080")?,
    ///     Endpoint::new("http://10.0.0.2:8080")?,
    /// ])?;
    /// let client = Client::builder().endpoints(set).build()?;
    /// # drop(client);
    /// # Ok(())
    /// # }
    /// ```
    pub fn endpoints(self, set: EndpointSet) -> Setup<L, BalanceLayer> {
        self.balance(BalanceLayer::new(set))
    }
}
