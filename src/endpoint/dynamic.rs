//! Resources whose content is made when it is asked for.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::http::Answer;
use super::query_value;
use crate::protocol::{Refusal, Request};

/// A GET of a dynamic resource, as its maker sees it.
#[derive(Debug)]
pub struct Asked<'r>(&'r Request<'r>);

impl<'r> Asked<'r> {
    /// The path as it was sent, without its query.
    pub fn path(&self) -> &'r str {
        self.0.path()
    }

    /// The decoded value of the first query pair of this name.
    ///
    /// # Errors
    ///
    /// 400 if it is badly encoded.
    pub fn query(&self, name: &str) -> Result<Option<Cow<'r, str>>, Refusal> {
        query_value(self.0.query(), name)
            .map_err(|error| Refusal::new(400, format!("query value of {}: {error}", name.escape_debug())))
    }

    /// The names in the query, as they were sent.
    pub fn query_names(&self) -> impl Iterator<Item = &'r str> {
        let pairs = self.0.query().split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name))
    }

    /// The first header of this name; names are compared in any case.
    pub fn header(&self, name: &str) -> Option<&'r [u8]> {
        self.0.header(name)
    }
}

/// What a path answers to GET and HEAD, made anew each time. The shard of the connection waits for it.
#[derive(Clone)]
pub struct DynamicResource(Arc<Maker>);

type Maker = dyn Fn(&Asked<'_>) -> Result<Answer, Refusal> + Send + Sync;

impl DynamicResource {
    /// A resource that `make` answers.
    pub fn new(make: impl Fn(&Asked<'_>) -> Result<Answer, Refusal> + Send + Sync + 'static) -> Self {
        DynamicResource(Arc::new(make))
    }

    /// What to answer to a request.
    ///
    /// # Errors
    ///
    /// The refusal to answer with.
    pub(crate) fn answer(&self, request: &Request<'_>) -> Result<Answer, Refusal> {
        (self.0)(&Asked(request))
    }
}

impl fmt::Debug for DynamicResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DynamicResource")
    }
}
