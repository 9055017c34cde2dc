//! Who may do what: callers are known by password or token, and every route takes a role.
//!
//! Where it sits: between the network and the handlers. `web_config` reads the file, `password` checks
//! passwords away from the async workers, and this file decides. Invariants: without users and tokens in
//! the configuration everybody has every role; with them nobody has any before being known. A broken new
//! file never replaces a good old one.

mod password;
mod web_config;

use crate::error::{ApiError, ErrorType};
use crate::net::Tls;
use crate::observe::log;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use password::Passwords;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use web_config::WebConfig;

/// What a route lets its caller do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See whether the server works: health, its own metrics. Every known caller may.
    Health,
    /// Read data.
    Query,
    /// Write data.
    Write,
    /// Delete data, copy it, stop the server.
    Admin,
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// All of them.
    pub const ALL: Self = Self(0xff);

    /// Whether `role` is among them.
    #[must_use]
    pub fn contain(self, role: Role) -> bool {
        role == Role::Health || self.0 & (1 << role as u8) != 0
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<T: IntoIterator<Item = Role>>(roles: T) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | 1 << role as u8))
    }
}

/// What whoever sent a request may do.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Their roles.
    pub roles: Roles,
}

/// Why a caller is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// No or wrong credentials.
    Unauthorized,
    /// Too many passwords are being checked.
    Busy,
}

/// The web configuration in force, and the counters of what it refused.
#[derive(Debug)]
pub struct Access {
    file: Option<PathBuf>,
    config: RwLock<Arc<WebConfig>>,
    passwords: Passwords,
    /// Certificates in force, for the listeners.
    pub tls: Arc<Tls>,
    reloaded: AtomicBool,
    reloaded_at: AtomicI64,
    unauthorized: AtomicU64,
    forbidden: AtomicU64,
}

impl Access {
    /// Reads the web configuration; without a file everybody may do everything, in the clear.
    ///
    /// # Errors
    /// What is wrong with the file or with what it names.
    pub fn open(file: Option<&Path>) -> Result<Self, String> {
        let config = file.map_or_else(|| Ok(WebConfig::default()), WebConfig::read)?;
        Ok(Self {
            file: file.map(Path::to_owned),
            passwords: Passwords::new()?,
            tls: Arc::new(Tls::new(config.tls.clone())),
            config: RwLock::new(Arc::new(config)),
            reloaded: AtomicBool::new(true),
            reloaded_at: AtomicI64::new(log::now()),
            unauthorized: AtomicU64::new(0),
            forbidden: AtomicU64::new(0),
        })
    }

    fn config(&self) -> Arc<WebConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether nobody has to say who they are.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.config().is_open()
    }

    /// Reads the file again when it or a file that it names has changed. Connections that are open stay.
    /// Touches the disk: not for async workers.
    pub fn reload_if_changed(&self) {
        let Some(file) = &self.file else { return };
        if self.config().is_current() {
            return;
        }
        match WebConfig::read(file) {
            Ok(config) => {
                self.tls.replace(config.tls.clone());
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                self.reloaded_at.store(log::now(), Relaxed);
                if !self.reloaded.swap(true, Relaxed) {
                    log::info("web configuration is good again", &[]);
                }
                log::info("web configuration reloaded", &[]);
            }
            Err(error) => {
                // Said once, not every time it is looked at.
                if self.reloaded.swap(false, Relaxed) {
                    log::error("web configuration is bad, the old one stays", &[("err", &error)]);
                }
            }
        }
    }

    /// Who sends a request with these headers.
    ///
    /// # Errors
    /// See [`Unknown`].
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Unknown> {
        let config = self.config();
        if config.is_open() {
            return Ok(Caller { roles: Roles::ALL });
        }
        let found = match credentials(headers) {
            Some(Credentials::Token(token)) => config.token(&token),
            Some(Credentials::Password { user, password }) => {
                let found = config.user(&user);
                // An unknown user costs as much as a wrong password, so that the time does not tell them apart.
                let hash = found.as_ref().map(|found| &found.hash).or_else(|| config.any_hash());
                let Some(hash) = hash else { return Err(self.unauthorized()) };
                let right = self.passwords.are_right(&user, &password, hash).await?;
                found.filter(|_| right).map(|found| Caller { roles: found.roles })
            }
            None => None,
        };
        found.ok_or_else(|| self.unauthorized())
    }

    fn unauthorized(&self) -> Unknown {
        self.unauthorized.fetch_add(1, Relaxed);
        Unknown::Unauthorized
    }

    /// Counts an answer 403.
    pub fn count_forbidden(&self) {
        self.forbidden.fetch_add(1, Relaxed);
    }

    /// The headers that the web configuration adds to every answer.
    pub fn set_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.config().headers {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// Adds the metrics.
    pub fn collect(&self, families: &mut crate::observe::family::Families) {
        families.counter(
            "marigram_http_unauthorized_total",
            "Requests without right credentials.",
            self.unauthorized.load(Relaxed),
        );
        families.counter(
            "marigram_http_forbidden_total",
            "Requests answered 403: the caller lacks the role, a foreign page sent them, or the endpoint is off.",
            self.forbidden.load(Relaxed),
        );
        families.gauge(
            "marigram_web_config_last_reload_successful",
            "Whether the web configuration on disk is the one in force.",
            f64::from(u8::from(self.reloaded.load(Relaxed))),
        );
        families.gauge(
            "marigram_web_config_last_reload_success_timestamp_seconds",
            "When the web configuration in force was read.",
            self.reloaded_at.load(Relaxed) as f64 / 1e3,
        );
    }
}

impl Unknown {
    /// The answer; `Basic` is offered because browsers ask for a password then.
    #[must_use]
    pub fn into_response(self) -> Response {
        match self {
            Self::Unauthorized => {
                let error = ApiError::new(ErrorType::Unauthorized, "Unauthorized");
                let mut response = error.into_text_response();
                let challenge = HeaderValue::from_static("Basic");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                response
            }
            Self::Busy => ApiError::overloaded("too many passwords are being checked").into_response(),
        }
    }
}

/// The layer of a route: its caller must have the role.
pub async fn check(State(role): State<Role>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    if caller.is_some_and(|caller| caller.roles.contain(role)) {
        return next.run(request).await;
    }
    let message = format!("this needs the role {}", format!("{role:?}").to_lowercase());
    ApiError::new(ErrorType::Forbidden, message).into_response()
}

enum Credentials {
    Password { user: String, password: Vec<u8> },
    Token(String),
}

fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    // Two would leave open which of them counts.
    if values.next().is_some() {
        return None;
    }
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Token(rest.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(rest.trim()).ok()?;
    // A password may hold colons, a user's name may not.
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some(Credentials::Password { user, password: decoded[colon + 1..].to_vec() })
}

/// Header fields as the web configuration adds them.
type Headers = Vec<(HeaderName, HeaderValue)>;
