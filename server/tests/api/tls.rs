//! TLS: who is greeted, who is not, and that certificates can be replaced while running.

use crate::support::{Reply, Server, read_reply, request, server};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, crypto::ring,
    version,
};

/// Somebody who vouches for others.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key for a name, PEM.
    fn vouch_for(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

struct Secure {
    server: Server,
    folder: tempfile::TempDir,
    authority: Authority,
}

/// A server with a certificate for `localhost`, and with `more` in the section about TLS.
fn secure(more: &str) -> Secure {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let (certificate, key) = authority.vouch_for("localhost");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
    write("ca.pem", &authority.pem);
    write("cert.pem", &certificate);
    write("key.pem", &key);
    write("web.yml", &format!("tls_server_config: {{cert_file: cert.pem, key_file: key.pem{more}}}\n"));
    let server = server(&[&format!("--web.config.file={}", folder.path().join("web.yml").display())]);
    Secure { server, folder, authority }
}

/// Who asks: a certificate and its key, PEM.
type Identity<'a> = Option<&'a (String, String)>;

impl Secure {
    fn ask(&self, identity: Identity<'_>) -> Result<Reply, String> {
        self.ask_over(identity, &[&version::TLS12, &version::TLS13])
    }

    fn ask_over(
        &self,
        identity: Identity<'_>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Reply, String> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).expect("PEM"))
            .expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder =
            builder.with_protocol_versions(versions).expect("versions").with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("an identity")
            }
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
        let mut stream = StreamOwned::new(client, self.server.connect());
        let request = request("GET", "/api/v1/query?query=1", &[], b"");
        stream.write_all(&request).map_err(|e| e.to_string())?;
        let mut first = [0];
        // A server that refuses a certificate of TLS 1.3 says so after the client's first bytes.
        std::io::Read::read_exact(&mut stream, &mut first).map_err(|e| e.to_string())?;
        Ok(read_reply(std::io::Read::chain(&first[..], stream)))
    }
}

#[test]
fn both_versions_answer_and_plain_text_does_not() {
    let secure = secure("");
    assert_eq!(secure.ask_over(None, &[&version::TLS12]).expect("TLS 1.2").status, 200);
    assert_eq!(secure.ask_over(None, &[&version::TLS13]).expect("TLS 1.3").status, 200);
    let mut plain = secure.server.connect();
    let _ = plain.write_all(&request("GET", "/-/healthy", &[], b""));
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut plain, &mut answer);
    assert!(!answer.starts_with(b"HTTP"), "answered in the clear");
}

#[test]
fn a_least_version_holds() {
    let secure = secure(", min_version: TLS13");
    assert!(secure.ask_over(None, &[&version::TLS12]).is_err());
    assert_eq!(secure.ask_over(None, &[&version::TLS13]).expect("TLS 1.3").status, 200);
}

#[test]
fn clients_need_a_certificate_when_one_is_wanted() {
    let secure = secure(
        ", client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [agent.test]",
    );
    let right = secure.authority.vouch_for("agent.test");
    assert_eq!(secure.ask(Some(&right)).expect("the right certificate").status, 200);
    assert_eq!(secure.ask_over(Some(&right), &[&version::TLS12]).expect("over TLS 1.2").status, 200);
    assert!(secure.ask(None).is_err(), "without a certificate");
    assert!(secure.ask(Some(&Authority::new().vouch_for("agent.test"))).is_err(), "of a stranger");
    assert!(secure.ask(Some(&secure.authority.vouch_for("other.test"))).is_err(), "of somebody else");
    assert!(secure.ask(Some(&secure.authority.vouch_for("*.test"))).is_err(), "of everybody");
}

#[test]
fn a_certificate_that_is_given_must_be_right() {
    let secure = secure(", client_ca_file: ca.pem, client_auth_type: VerifyClientCertIfGiven");
    assert_eq!(secure.ask(None).expect("none").status, 200);
    assert_eq!(secure.ask(Some(&secure.authority.vouch_for("x.test"))).expect("a right one").status, 200);
    assert!(secure.ask(Some(&Authority::new().vouch_for("x.test"))).is_err());
}

#[test]
fn certificates_are_replaced_while_running() {
    let mut secure = secure("");
    assert_eq!(secure.ask(None).expect("the old one").status, 200);
    secure.authority = Authority::new();
    assert!(secure.ask(None).is_err(), "not vouched for by the new authority yet");
    let (certificate, key) = secure.authority.vouch_for("localhost");
    // Between the two writes certificate and key do not fit: the old pair stays.
    fs::write(secure.folder.path().join("cert.pem"), certificate + "\n").expect("a file");
    secure.server.app.access.reload_if_changed();
    assert!(secure.ask(None).is_err());
    fs::write(secure.folder.path().join("key.pem"), key + "\n").expect("a file");
    secure.server.app.access.reload_if_changed();
    assert_eq!(secure.ask(None).expect("the new one").status, 200);
}
