//! Which path is what: WebSocket endpoints, HTTP resources, and a 404 that helps.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::api_keys::is_of_this_machine;
use super::http::{self, Routed};
use super::query::decode;
use super::{ApiKeys, DynamicResource, Endpoint, OriginPolicy, query_value};
use crate::id::ShardId;
use crate::protocol::{Refusal, Request, Upgrade, shown};

/// Characters of a path that are shown in a refusal.
const SHOWN_PATH_CHARS_MAX: usize = 200;

/// Characters of a host that are shown in a refusal.
const SHOWN_HOST_CHARS_MAX: usize = 64;

/// Characters of a method that are shown in a refusal.
const SHOWN_METHOD_CHARS_MAX: usize = 32;

/// Makes the instance of an endpoint that one shard owns.
pub type EndpointFactory = Arc<dyn Fn(ShardId) -> Box<dyn Endpoint> + Send + Sync>;

/// Bytes that a path answers to GET and HEAD.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    /// The value of Content-Type.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Cow<'static, [u8]>,
}

/// The paths of a server; each shard makes a [`Router`] of it.
#[derive(Clone, Default)]
pub struct RouterPlan {
    endpoints: Vec<(Pattern, EndpointFactory)>,
    resources: Vec<(String, Arc<Resource>)>,
    dynamic: Vec<(String, DynamicResource)>,
    rooms_door: bool,
    /// Whether only requests are served whose Host is an IP address or `localhost`. No page of another site can
    /// then read what is here by a name of its own for an address of this machine.
    pub local_hosts_only: bool,
    /// Which pages may connect.
    pub origins: OriginPolicy,
    /// Who may publish and list over HTTP.
    pub api_keys: Option<Arc<ApiKeys>>,
}

impl fmt::Debug for RouterPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterPlan").field("paths", &self.paths()).field("origins", &self.origins).finish()
    }
}

impl RouterPlan {
    /// Adds a WebSocket endpoint. A segment of the path in braces, as in `/rooms/{room}`, matches any
    /// one non-empty segment and becomes a parameter of that name.
    pub fn add_endpoint(&mut self, path: &str, factory: EndpointFactory) {
        self.endpoints.push((Pattern::new(path), factory));
    }

    /// Adds an HTTP resource under an exact path.
    pub fn add_resource(&mut self, path: &str, resource: Resource) {
        self.resources.push((path.to_owned(), Arc::new(resource)));
    }

    /// Adds an HTTP resource under an exact path whose content is made when it is asked for.
    pub fn add_dynamic(&mut self, path: &str, resource: DynamicResource) {
        self.dynamic.push((path.to_owned(), resource));
    }

    /// Adds the HTTP door to the rooms: [`http::PATHS`], for requests that are no upgrade. It goes
    /// before everything else that is there under these paths.
    pub fn add_rooms_door(&mut self) {
        self.rooms_door = true;
    }

    /// All paths, as they were given, each once.
    pub fn paths(&self) -> Vec<&str> {
        let endpoints = self.endpoints.iter().map(|(pattern, _)| pattern.path.as_str());
        let resources = self.resources.iter().map(|(path, _)| path.as_str());
        let dynamic = self.dynamic.iter().map(|(path, _)| path.as_str());
        let mut paths: Vec<&str> = resources.chain(dynamic).chain(endpoints).collect();
        if self.rooms_door {
            let others = http::PATHS.into_iter().filter(|path| !paths.contains(path));
            let others: Vec<&str> = others.collect();
            paths.extend(others);
        }
        paths
    }

    /// The path of the endpoint at this place, as it was given.
    pub fn endpoint_path(&self, endpoint: u16) -> Option<&str> {
        self.endpoints.get(usize::from(endpoint)).map(|(pattern, _)| pattern.path.as_str())
    }

    /// Finds out what a request asks for.
    ///
    /// # Errors
    ///
    /// The refusal to answer it with: 404, 405, 421, or what [`Upgrade::check`], [`OriginPolicy::check`] and
    /// [`http::route`] refuse.
    pub fn resolve<'r>(&'r self, request: &'r Request<'r>) -> Result<Resolved<'r>, Refusal> {
        let path = request.path();
        if self.local_hosts_only && !is_of_this_machine(request.host()) {
            return Err(host_not_served(request.host()));
        }
        if self.rooms_door
            && !request.is_upgrade()
            && let Some(routed) = http::route(request, &self.origins)?
        {
            return Ok(Resolved::Rooms { routed });
        }
        for (at, (pattern, _)) in self.endpoints.iter().enumerate() {
            if let Some(raw) = pattern.matches(path) {
                let open = self.open_request(request, raw)?;
                return Ok(Resolved::WebSocket { endpoint: at as u16, open });
            }
        }
        match self.find_resource(path) {
            Some(_) if request.is_upgrade() => Err(self.not_found(path, "is no WebSocket path")),
            Some(_) if !matches!(request.method(), "GET" | "HEAD") => {
                Err(method_not_allowed(request.method()))
            }
            Some(resource) => Ok(resource),
            None if self.rooms_door && http::is_rooms_path(path) => {
                Err(self.not_found(path, "is no WebSocket path"))
            }
            None => Err(self.not_found(path, "is not here")),
        }
    }

    fn find_resource(&self, path: &str) -> Option<Resolved<'_>> {
        let fixed = self.resources.iter().find(|(known, _)| known == path);
        let fixed = fixed.map(|(_, resource)| Resolved::Http { resource });
        fixed.or_else(|| {
            let (_, resource) = self.dynamic.iter().find(|(known, _)| known == path)?;
            Some(Resolved::Dynamic { resource })
        })
    }

    fn open_request<'r>(
        &'r self,
        request: &'r Request<'r>,
        raw: Vec<(&'r str, &'r str)>,
    ) -> Result<OpenRequest<'r>, Refusal> {
        let upgrade = Upgrade::check(request)?;
        self.origins.check(request.headers_named("origin"), request.host())?;
        let mut parameters = Vec::with_capacity(raw.len());
        for (name, value) in raw {
            let value =
                decode(value).map_err(|error| Refusal::new(400, format!("{name} in the path: {error}")))?;
            parameters.push((name, value));
        }
        Ok(OpenRequest { request, upgrade, parameters })
    }

    fn not_found(&self, path: &str, what: &str) -> Refusal {
        let path = shown(path.as_bytes(), SHOWN_PATH_CHARS_MAX);
        Refusal::new(404, format!("{path} {what}; this server has {}", self.paths().join(", ")))
    }
}

#[derive(Clone, Debug)]
struct Pattern {
    path: String,
}

impl Pattern {
    fn new(path: &str) -> Pattern {
        Pattern { path: path.to_owned() }
    }

    /// The raw parameters if `path` matches.
    fn matches<'p>(&self, path: &'p str) -> Option<Vec<(&str, &'p str)>> {
        let mut parameters = Vec::new();
        let mut segments = path.split('/');
        for expected in self.path.split('/') {
            let segment = segments.next()?;
            match expected.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) if !segment.is_empty() => parameters.push((name, segment)),
                Some(_) => return None,
                None if expected == segment => {}
                None => return None,
            }
        }
        segments.next().is_none().then_some(parameters)
    }
}

/// A request to open a WebSocket, as an endpoint sees it.
#[derive(Debug)]
pub struct OpenRequest<'r> {
    request: &'r Request<'r>,
    upgrade: Upgrade<'r>,
    parameters: Vec<(&'r str, Cow<'r, str>)>,
}

impl<'r> OpenRequest<'r> {
    /// The path as it was sent, without its query.
    pub fn path(&self) -> &'r str {
        self.request.path()
    }

    /// The decoded value of a path parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_ref())
    }

    /// The decoded value of the first query pair of this name.
    ///
    /// # Errors
    ///
    /// 400 if it is badly encoded.
    pub fn query(&self, name: &str) -> Result<Option<Cow<'r, str>>, Refusal> {
        query_value(self.request.query(), name)
            .map_err(|error| Refusal::new(400, format!("query value of {}: {error}", name.escape_debug())))
    }

    /// The first header of this name; names are compared in any case.
    pub fn header(&self, name: &str) -> Option<&'r [u8]> {
        self.request.header(name)
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'r str> {
        self.upgrade.subprotocols()
    }

    /// The checked upgrade itself.
    pub(crate) fn upgrade(&self) -> &Upgrade<'r> {
        &self.upgrade
    }
}

/// What a request asks for.
#[derive(Debug)]
pub enum Resolved<'r> {
    /// A WebSocket at this endpoint.
    WebSocket {
        /// The endpoint's place in the router.
        endpoint: u16,
        /// The checked request.
        open: OpenRequest<'r>,
    },
    /// An HTTP resource.
    Http {
        /// What to answer.
        resource: &'r Resource,
    },
    /// An HTTP resource that is made for this request.
    Dynamic {
        /// What makes the answer.
        resource: &'r DynamicResource,
    },
    /// Something of the HTTP door to the rooms.
    Rooms {
        /// What became of it.
        routed: Routed,
    },
}

/// One shard's paths and endpoint instances.
pub struct Router {
    endpoints: Vec<Box<dyn Endpoint>>,
    plan: Arc<RouterPlan>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

impl Router {
    /// The router of one shard, with endpoint instances of its own.
    pub fn new(plan: Arc<RouterPlan>, shard: ShardId) -> Router {
        Router { endpoints: plan.endpoints.iter().map(|(_, factory)| factory(shard)).collect(), plan }
    }

    /// Goes on with a plan of the same paths.
    pub(crate) fn set_plan(&mut self, plan: Arc<RouterPlan>) {
        debug_assert_eq!(plan.paths(), self.plan.paths(), "a path's endpoint is known by its place");
        self.plan = plan;
    }

    /// All instances of this shard.
    pub(crate) fn endpoints_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn Endpoint>> {
        self.endpoints.iter_mut()
    }

    /// The paths that all shards share.
    pub(crate) fn plan(&self) -> Arc<RouterPlan> {
        Arc::clone(&self.plan)
    }

    /// The endpoint at this place.
    pub(crate) fn endpoint(&mut self, endpoint: u16) -> Option<&mut Box<dyn Endpoint>> {
        self.endpoints.get_mut(usize::from(endpoint))
    }
}

fn host_not_served(host: &str) -> Refusal {
    let host = shown(host.as_bytes(), SHOWN_HOST_CHARS_MAX);
    Refusal::new(421, format!("host {host} is not served here; an IP address or localhost is"))
}

fn method_not_allowed(method: &str) -> Refusal {
    let method = shown(method.as_bytes(), SHOWN_METHOD_CHARS_MAX);
    Refusal::new(405, format!("method {method} is not allowed here; GET and HEAD are"))
        .with_header("Allow", "GET, HEAD".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::Relay;
    use super::super::http::Answer;
    use super::super::http::tests::request;
    use super::*;

    #[test]
    fn a_pattern_matches_whole_segments() {
        let rooms = Pattern::new("/rooms/{room}");
        assert_eq!(rooms.matches("/rooms/a%2Fb"), Some(vec![("room", "a%2Fb")]));
        for path in ["/rooms", "/rooms/", "/rooms/a/b", "/rooms/a/", "/room/a", "//rooms/a"] {
            assert_eq!(rooms.matches(path), None, "{path}");
        }
        assert_eq!(Pattern::new("/echo").matches("/echo"), Some(vec![]));
        assert_eq!(Pattern::new("/echo").matches("/echo/"), None);
    }

    #[test]
    fn the_door_takes_its_paths_but_no_upgrade() {
        let mut plan = RouterPlan::default();
        plan.add_endpoint("/rooms/{room}", Arc::new(|_| Box::new(Relay { member_publish: true })));
        let call = request("GET /rooms/a HTTP/1.1");
        assert_eq!(plan.resolve(&call).unwrap_err().status, 426, "a closed door leaves all to the endpoint");
        assert_eq!(plan.resolve(&request("GET /rooms HTTP/1.1")).unwrap_err().status, 404);
        assert_eq!(plan.paths(), ["/rooms/{room}"]);
        plan.add_rooms_door();
        assert!(matches!(plan.resolve(&call), Ok(Resolved::Rooms { routed: Routed::Call { .. } })));
        let preflight = request("OPTIONS /rooms HTTP/1.1");
        assert!(matches!(plan.resolve(&preflight), Ok(Resolved::Rooms { routed: Routed::Answer(_) })));
        assert_eq!(plan.resolve(&request("PUT /rooms HTTP/1.1")).unwrap_err().status, 405);
        let upgrade = |path: &str| {
            request(&format!(
                "GET {path} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
            ))
        };
        assert!(matches!(plan.resolve(&upgrade("/rooms/a")), Ok(Resolved::WebSocket { endpoint: 0, .. })));
        for path in ["/rooms", "/rooms/a/events"] {
            let refusal = plan.resolve(&upgrade(path)).unwrap_err();
            assert_eq!(refusal.status, 404);
            assert!(refusal.body.contains("is no WebSocket path"), "{}", refusal.body);
        }
    }

    #[test]
    fn a_dynamic_resource_is_made_for_each_request_and_read_only() {
        let mut plan = RouterPlan::default();
        plan.add_dynamic(
            "/now",
            DynamicResource::new(|asked| {
                let name = asked.query("name")?.unwrap_or("nobody".into());
                Ok(Answer::new("text/plain", format!("{} {name}", asked.path()).into_bytes()))
            }),
        );
        for (line, body) in
            [("GET /now?name=a+b HTTP/1.1", "/now a b"), ("HEAD /now HTTP/1.1", "/now nobody")]
        {
            let request = request(line);
            let Ok(Resolved::Dynamic { resource }) = plan.resolve(&request) else { panic!("{line}") };
            assert_eq!(resource.answer(&request).unwrap().body, body.as_bytes());
        }
        let broken = request("GET /now?name=%zz HTTP/1.1");
        let Ok(Resolved::Dynamic { resource }) = plan.resolve(&broken) else { panic!("it is there") };
        assert_eq!(resource.answer(&broken).unwrap_err().status, 400);
        assert_eq!(plan.resolve(&request("POST /now HTTP/1.1")).unwrap_err().status, 405);
        assert_eq!(plan.resolve(&request("GET /then HTTP/1.1")).unwrap_err().status, 404);
        assert_eq!(plan.paths(), ["/now"]);
    }

    #[test]
    fn a_plan_for_local_hosts_refuses_every_other_name() {
        let mut plan = RouterPlan { local_hosts_only: true, ..RouterPlan::default() };
        plan.add_resource("/", Resource::default());
        let to = |host: &str| request(&format!("GET / HTTP/1.1\r\nHost: {host}"));
        for host in ["127.0.0.1:9002", "[::1]:9002", "localhost", "localhost:1", "10.0.0.1"] {
            assert!(plan.resolve(&to(host)).is_ok(), "{host}");
        }
        for host in ["evil.example:9002", "127.0.0.1.evil.example", "localhost.evil.example"] {
            assert_eq!(plan.resolve(&to(host)).unwrap_err().status, 421, "{host}");
        }
    }

    #[test]
    fn the_404_lists_the_doors_paths_once() {
        let mut plan = RouterPlan::default();
        plan.add_endpoint("/rooms/{room}", Arc::new(|_| Box::new(Relay { member_publish: true })));
        plan.add_resource("/", Resource::default());
        plan.add_rooms_door();
        let body = plan.resolve(&request("GET /rooms/ HTTP/1.1")).unwrap_err().body;
        assert_eq!(
            body,
            "/rooms/ is not here; this server has /, /rooms/{room}, /rooms, /rooms/{room}/events, /api/{method}"
        );
    }

    #[test]
    fn a_refusal_cuts_a_long_path_and_a_long_method() {
        let not_found = |length| RouterPlan::default().not_found(&"p".repeat(length), "is not here").body;
        assert!(not_found(200).starts_with(&format!("{} is", "p".repeat(200))));
        assert!(not_found(201).starts_with(&format!("{}… is", "p".repeat(200))));
        let refused = |length| method_not_allowed(&"M".repeat(length)).body;
        assert!(refused(32).contains(&format!("{} is", "M".repeat(32))));
        assert!(refused(33).contains(&format!("{}… is", "M".repeat(32))));
    }
}
