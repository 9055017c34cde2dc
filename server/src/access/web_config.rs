//! The web configuration file: Prometheus' own (`tls_server_config`, `http_server_config`,
//! `basic_auth_users`), with roles for the users and with bearer tokens beside it.
//!
//! Paths in it are relative to its folder. Unknown fields, unknown names and hashes nobody can check are
//! errors, because a slip here opens a door. Format: <https://prometheus.io/docs/prometheus/latest/configuration/https/>

use super::{Caller, Headers, Role, Roles};
use crate::net::tls::{ClientAuth, Settings};
use hyper::header::{HeaderName, HeaderValue};
use ring::digest;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio_rustls::rustls::ServerConfig;

/// Work factors of bcrypt beyond this take seconds.
const COST_MAX: u32 = 16;
/// The header fields that may be set, as in Prometheus.
const HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
];

/// What the file says, checked.
#[derive(Debug, Default)]
pub(super) struct WebConfig {
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) headers: Headers,
    users: HashMap<String, User>,
    /// By the SHA-256 of the token: looking one up tells nothing about the others.
    tokens: HashMap<[u8; 32], Caller>,
    /// The files that were read, as they were before reading.
    files: Vec<(PathBuf, Stamp)>,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) hash: Arc<str>,
    pub(super) roles: Roles,
}

/// Size and time of change of a file; nothing when it cannot be seen.
type Stamp = Option<(u64, SystemTime)>;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct File {
    tls_server_config: TlsSection,
    http_server_config: HttpSection,
    basic_auth_users: BTreeMap<String, String>,
    user_roles: BTreeMap<String, Vec<Role>>,
    bearer_tokens: Vec<TokenSection>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct TlsSection {
    cert_file: Option<PathBuf>,
    cert: Option<String>,
    key_file: Option<PathBuf>,
    key: Option<String>,
    client_ca_file: Option<PathBuf>,
    client_ca: Option<String>,
    client_auth_type: String,
    client_allowed_sans: Vec<String>,
    min_version: String,
    max_version: String,
    cipher_suites: Vec<String>,
    curve_preferences: Vec<String>,
    prefer_server_cipher_suites: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct HttpSection {
    // Read and not used: the API is served over HTTP/1.1, gRPC over HTTP/2.
    http2: Option<bool>,
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenSection {
    name: String,
    token_file: Option<PathBuf>,
    token_sha256: Option<String>,
    roles: Vec<Role>,
}

impl WebConfig {
    /// # Errors
    /// What is wrong, with the file's name.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let mut reader = Reader { dir: path.parent().unwrap_or(Path::new("")), files: Vec::new() };
        let text = reader.text(Path::new(path.file_name().unwrap_or_default()))?;
        let file: File = if text.trim().is_empty() {
            File::default()
        } else {
            yaml_serde::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?
        };
        let config = Self::check(file, &mut reader).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self { files: reader.files, ..config })
    }

    fn check(file: File, reader: &mut Reader<'_>) -> Result<Self, String> {
        let _ = file.http_server_config.http2;
        if let Some(user) = file.user_roles.keys().find(|user| !file.basic_auth_users.contains_key(*user)) {
            return Err(format!("user_roles names {user:?}, who is not in basic_auth_users"));
        }
        let mut users = HashMap::new();
        for (user, hash) in file.basic_auth_users {
            check_hash(&hash).map_err(|e| format!("basic_auth_users, {user:?}: {e}"))?;
            let roles = file.user_roles.get(&user).map(|roles| roles.iter().copied().collect());
            users.insert(user, User { hash: hash.into(), roles: roles.unwrap_or(Roles::ALL) });
        }
        let mut tokens = HashMap::new();
        for section in file.bearer_tokens {
            let name = section.name.clone();
            let (digest, caller) =
                token(section, reader).map_err(|e| format!("bearer_tokens, {name:?}: {e}"))?;
            if tokens.insert(digest, caller).is_some() {
                return Err(format!("bearer_tokens, {name:?}: the same token stands there twice"));
            }
        }
        let headers = headers(file.http_server_config.headers)?;
        let tls = tls(file.tls_server_config, reader).map_err(|e| format!("tls_server_config: {e}"))?;
        Ok(Self { tls, headers, users, tokens, files: Vec::new() })
    }

    /// Whether nobody has to say who they are.
    pub(super) fn is_open(&self) -> bool {
        self.users.is_empty() && self.tokens.is_empty()
    }

    pub(super) fn user(&self, name: &str) -> Option<User> {
        self.users.get(name).cloned()
    }

    /// A hash to compare the password of nobody with.
    pub(super) fn any_hash(&self) -> Option<&Arc<str>> {
        self.users.values().next().map(|user| &user.hash)
    }

    pub(super) fn token(&self, token: &str) -> Option<Caller> {
        self.tokens.get(&sha256(token.as_bytes())).copied()
    }

    /// Whether the files are as they were when they were read.
    pub(super) fn is_current(&self) -> bool {
        self.files.iter().all(|(path, stamp)| stamp_of(path) == *stamp)
    }
}

/// Reads files and notes which.
struct Reader<'a> {
    dir: &'a Path,
    files: Vec<(PathBuf, Stamp)>,
}

impl Reader<'_> {
    fn text(&mut self, path: &Path) -> Result<String, String> {
        let path = self.dir.join(path);
        self.files.push((path.clone(), stamp_of(&path)));
        fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// A text that stands in the configuration or in a file.
    fn either(&mut self, file: Option<&Path>, text: Option<String>) -> Result<Option<String>, String> {
        match (file, text) {
            (Some(_), Some(_)) => Err("both a file and its text are given".to_owned()),
            (Some(path), None) => self.text(path).map(Some),
            (None, text) => Ok(text),
        }
    }
}

fn stamp_of(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

fn check_hash(hash: &str) -> Result<(), String> {
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| "not a bcrypt hash".to_owned())?;
    if parts.get_cost() > COST_MAX {
        return Err(format!("work factor {}, at most {COST_MAX} is allowed", parts.get_cost()));
    }
    Ok(())
}

fn token(section: TokenSection, reader: &mut Reader<'_>) -> Result<([u8; 32], Caller), String> {
    let digest = match (section.token_file, section.token_sha256) {
        (Some(path), None) => {
            let text = reader.text(&path)?;
            let token = text.trim();
            if token.is_empty() {
                return Err(format!("{} is empty", path.display()));
            }
            sha256(token.as_bytes())
        }
        (None, Some(hex)) => from_hex(&hex).ok_or("token_sha256 takes 64 hexadecimal digits")?,
        _ => return Err("give either token_file or token_sha256".to_owned()),
    };
    let roles = section.roles.into_iter().collect();
    Ok((digest, Caller { roles }))
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, digits) in out.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(out)
}

fn headers(fields: BTreeMap<String, String>) -> Result<Headers, String> {
    let mut headers = Headers::new();
    for (name, value) in fields {
        let wrong = |why: &str| format!("http_server_config, header {name:?}: {why}");
        if !HEADERS.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name)) {
            return Err(wrong(&format!("only these can be set: {}", HEADERS.join(", "))));
        }
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("not a name"))?;
        headers.push((key, HeaderValue::from_str(&value).map_err(|_| wrong("not a value"))?));
    }
    Ok(headers)
}

fn tls(section: TlsSection, reader: &mut Reader<'_>) -> Result<Option<Arc<ServerConfig>>, String> {
    // The server's choice of cipher suite has been the rule since Go 1.17 too, where this is without effect.
    let _ = section.prefer_server_cipher_suites;
    let certificate = reader.either(section.cert_file.as_deref(), section.cert)?;
    let key = reader.either(section.key_file.as_deref(), section.key)?;
    let client_ca = reader.either(section.client_ca_file.as_deref(), section.client_ca)?;
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if client_ca.is_none() && section.client_auth_type.is_empty() => return Ok(None),
        (None, _) => return Err("cert_file is missing".to_owned()),
        (_, None) => return Err("key_file is missing".to_owned()),
    };
    let client_auth = match section.client_auth_type.as_str() {
        "" | "NoClientCert" => ClientAuth::None,
        "VerifyClientCertIfGiven" => ClientAuth::IfGiven,
        "RequireAndVerifyClientCert" => ClientAuth::Required,
        other @ ("RequestClientCert" | "RequireAnyClientCert") => {
            return Err(format!(
                "client_auth_type {other} admits certificates nobody vouches for; \
                                use RequireAndVerifyClientCert or VerifyClientCertIfGiven"
            ));
        }
        other => return Err(format!("unknown client_auth_type {other:?}")),
    };
    Settings {
        certificate,
        key,
        client_ca,
        client_auth,
        allowed_sans: section.client_allowed_sans,
        min_version: section.min_version,
        max_version: section.max_version,
        cipher_suites: section.cipher_suites,
        curves: section.curve_preferences,
    }
    .build()
    .map(Some)
}
