//! TLS: from PEM texts to connections, with certificates that can be replaced while running.
//!
//! Where it sits: under the accept loop, which hands every accepted stream to [`Tls::accept`]. Invariant:
//! once a configuration asks for TLS, no byte is answered in the clear. TLS 1.2 and 1.3 with the suites
//! of rustls, all of them with forward secrecy.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion, version,
};
use tokio_rustls::server::TlsStream;

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked for.
    None,
    /// A wrong one is refused, none is not.
    IfGiven,
    /// Nobody without a right one.
    Required,
}

/// What TLS is made of.
#[derive(Debug)]
pub struct Settings {
    /// The server's certificate and those between it and its root, PEM.
    pub certificate: String,
    /// Its private key, PEM.
    pub key: String,
    /// Certificates that vouch for clients, PEM.
    pub client_ca: Option<String>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// Host names or addresses one of which a client's certificate must hold; empty: no matter.
    pub allowed_sans: Vec<String>,
    /// `TLS12`, `TLS13` or empty.
    pub min_version: String,
    /// `TLS12`, `TLS13` or empty.
    pub max_version: String,
    /// Suites by their IANA names, for TLS 1.2; empty: all.
    pub cipher_suites: Vec<String>,
    /// `X25519`, `CurveP256`, `CurveP384`; empty: all.
    pub curves: Vec<String>,
}

impl Settings {
    /// # Errors
    /// What is wrong with them.
    pub fn build(self) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(provider(&self.cipher_suites, &self.curves)?);
        let versions = versions(&self.min_version, &self.max_version)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect();
        let chain = chain.map_err(|e| format!("certificate: {e}"))?;
        if chain.is_empty() {
            return Err("no certificate in cert_file".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|e| format!("key: {e}"))?;
        let verifier = match (self.client_auth, self.client_ca) {
            (ClientAuth::None, None) => WebPkiClientVerifier::no_client_auth(),
            (ClientAuth::None, Some(_)) => {
                return Err(
                    "client_ca_file is given, but client_auth_type asks for no certificate".to_owned()
                );
            }
            (_, None) => {
                return Err(
                    "client_auth_type asks for certificates, but client_ca_file is missing".to_owned()
                );
            }
            (auth, Some(ca)) => client_verifier(auth, &ca, self.allowed_sans, &provider)?,
        };
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
        let builder = builder.map_err(|e| e.to_string())?.with_client_cert_verifier(verifier);
        let config = builder.with_single_cert(chain, key).map_err(|e| format!("certificate and key: {e}"))?;
        Ok(Arc::new(config))
    }
}

fn provider(suites: &[String], curves: &[String]) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if !suites.is_empty() {
        let known = provider.cipher_suites.clone();
        let name = |suite: &tokio_rustls::rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
        if let Some(unknown) = suites.iter().find(|wanted| !known.iter().any(|suite| name(suite) == **wanted))
        {
            return Err(format!("cipher suite {unknown:?} is unknown or weak"));
        }
        // As in Prometheus the list is for TLS 1.2; the suites of TLS 1.3 are all good.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some() || suites.contains(&name(suite)));
    }
    if !curves.is_empty() {
        let mut groups = Vec::new();
        for curve in curves {
            let name = match curve.as_str() {
                "X25519" => "X25519",
                "CurveP256" => "secp256r1",
                "CurveP384" => "secp384r1",
                _ => return Err(format!("unknown curve {curve:?} (X25519, CurveP256, CurveP384)")),
            };
            groups.extend(provider.kx_groups.iter().filter(|group| format!("{:?}", group.name()) == name));
        }
        provider.kx_groups = groups;
    }
    Ok(provider)
}

fn versions(min: &str, max: &str) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let number = |text: &str, default| match text {
        "" => Ok(default),
        "TLS12" => Ok(12),
        "TLS13" => Ok(13),
        "TLS10" | "TLS11" => Err(format!("{text} is not safe; TLS12 is the least")),
        _ => Err(format!("unknown version {text:?} (TLS12, TLS13)")),
    };
    let allowed = number(min, 12)?..=number(max, 13)?;
    let all = [(12, &version::TLS12), (13, &version::TLS13)];
    let versions: Vec<_> = all.into_iter().filter(|(n, _)| allowed.contains(n)).map(|(_, v)| v).collect();
    if versions.is_empty() { Err("min_version is above max_version".to_owned()) } else { Ok(versions) }
}

fn client_verifier(
    auth: ClientAuth,
    ca: &str,
    sans: Vec<String>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|e| format!("client_ca_file: {e}"))?;
        roots.add(certificate).map_err(|e| format!("client_ca_file: {e}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if auth == ClientAuth::IfGiven { builder.allow_unauthenticated() } else { builder };
    let inner = builder.build().map_err(|e| format!("client_ca_file: {e}"))?;
    Ok(if sans.is_empty() { inner } else { Arc::new(NamedClients { inner, sans }) })
}

/// Admits the clients whose certificate holds one of the names.
#[derive(Debug)]
struct NamedClients {
    inner: Arc<dyn ClientCertVerifier>,
    sans: Vec<String>,
}

impl NamedClients {
    fn admits(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
        self.sans.iter().any(|san| match san.parse::<IpAddr>() {
            Ok(ip) => certificate.verify_is_valid_for_subject_name(&ip.into()).is_ok(),
            // Compared as they stand there: a wildcard is not one of the hosts that it covers.
            Err(_) => certificate.valid_dns_names().any(|name| name == san),
        })
    }
}

impl ClientCertVerifier for NamedClients {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }
    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }
    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(certificate, between, now)?;
        if self.admits(certificate) {
            return Ok(verified);
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The configuration in force; nothing: connections are in the clear.
#[derive(Debug, Default)]
pub struct Tls(RwLock<Option<Arc<ServerConfig>>>);

impl Tls {
    /// With a first configuration.
    #[must_use]
    pub fn new(config: Option<Arc<ServerConfig>>) -> Self {
        Self(RwLock::new(config))
    }
    /// Takes another one for the connections to come.
    pub fn replace(&self, config: Option<Arc<ServerConfig>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
    /// Whether connections are encrypted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }
    /// Greets a client that will speak `protocol` (its name in ALPN).
    ///
    /// # Errors
    /// The client broke off, speaks no TLS, or showed no certificate where one is wanted.
    pub(super) async fn accept(&self, stream: TcpStream, protocol: &[u8]) -> io::Result<Transport> {
        let config = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(config) = config else { return Ok(Transport::Clear(stream)) };
        let mut config = ServerConfig::clone(&config);
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
        Ok(Transport::Tls(Box::new(stream)))
    }
}

/// The bytes of a connection.
pub enum Transport {
    /// As they come.
    Clear(TcpStream),
    /// Decrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}
