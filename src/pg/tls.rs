//! TLS as libpq's `sslmode` means it, on rustls with the ring provider.
//!
//! | mode | encrypted | chain checked | name checked |
//! | --- | --- | --- | --- |
//! | disable | never | | |
//! | allow | if the server insists | if a root file exists | no |
//! | prefer | if the server offers it | if a root file exists | no |
//! | require | always | if a root file exists | no |
//! | verify-ca | always | always | no |
//! | verify-full | always | always | yes, against subjectAltName only |
//!
//! As with libpq, a self-signed server certificate may itself be the root file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::certificate;
use super::conninfo::{ConnInfo, SslMode};
use crate::error::{Error, Kind, Result};

/// Where distributions keep the public roots, for `sslrootcert=system`.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// One way to talk to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    Plain,
    /// TLS when the server answers that it can.
    Offered,
    Required,
}

/// The ways a mode allows, in the order to try them.
#[must_use]
pub fn attempts(mode: SslMode) -> &'static [Encryption] {
    match mode {
        SslMode::Disable => &[Encryption::Plain],
        SslMode::Allow => &[Encryption::Plain, Encryption::Required],
        SslMode::Prefer => &[Encryption::Offered, Encryption::Plain],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Encryption::Required],
    }
}

/// The client side of TLS for one server.
///
/// # Errors
/// [`Kind::Config`] when a certificate or key file cannot be used, or a
/// `verify-*` mode has no root file.
pub fn client_config(info: &ConnInfo) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier {
        roots: roots(info)?,
        check_name: info.ssl_mode() == SslMode::VerifyFull,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::new(Kind::Config, format!("TLS cannot be set up: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((chain, key)) = own_certificate(info)? else {
        return Ok(builder.with_no_client_auth());
    };
    builder.with_client_auth_cert(chain, key).map_err(|e| {
        Error::new(
            Kind::Config,
            format!("the client certificate does not fit: {e}"),
        )
    })
}

struct Roots {
    store: RootCertStore,
    /// The same certificates as bytes: the server's own may be among them.
    exact: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Roots({})", self.exact.len())
    }
}

fn roots(info: &ConnInfo) -> Result<Option<Roots>> {
    let must_verify = info.ssl_mode() >= SslMode::VerifyCa;
    let path = match info.ssl.root.clone() {
        Some(path) if path == Path::new("system") => SYSTEM_BUNDLES
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists()),
        Some(path) if path.exists() => Some(path),
        _ => None,
    };
    let Some(path) = path else {
        if !must_verify {
            return Ok(None);
        }
        let missing = info
            .ssl
            .root
            .as_ref()
            .map_or("~/.postgresql/root.crt".into(), |p| p.display().to_string());
        return Err(Error::new(
            Kind::Config,
            format!("{info}: the root certificate file {missing} does not exist, and sslmode demands that the server's certificate is checked"),
        )
        .remedy("put the certificate of the authority that signed the server's into ~/.postgresql/root.crt or name it with sslrootcert=…; sslmode=require encrypts without a check"));
    };
    let exact = certificates(&path)?;
    // A name constraint or an exotic key in one of a bundle's roots must not
    // make the others unusable; none usable at all is an error.
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(exact.iter().cloned());
    if usable == 0 {
        return Err(unusable(&path, "it holds no usable certificate"));
    }
    Ok(Some(Roots { store, exact }))
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Config, format!("{}: {why}", path.display()))
        .remedy("name a readable PEM file, or remove it if it is not meant to be used")
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| unusable(path, e))
}

type OwnCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn own_certificate(info: &ConnInfo) -> Result<Option<OwnCertificate>> {
    let Some(path) = info.ssl.certificate.as_ref().filter(|p| p.exists()) else {
        return Ok(None);
    };
    let chain = certificates(path)?;
    let key = info.ssl.key.as_ref().filter(|p| p.exists());
    let key = key.ok_or_else(|| unusable(path, "there is no private key for it (sslkey)"))?;
    let meta = fs::metadata(key).map_err(|e| unusable(key, e))?;
    // Root's own key may be shared with a group, as libpq allows.
    let allowed = if meta.uid() == 0 { 0o640 } else { 0o600 };
    if meta.mode() & 0o777 & !allowed != 0 {
        return Err(unusable(key, "the private key can be read by others")
            .remedy(format!("chmod 0600 {}", key.display())));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, e))?;
    Ok(Some((chain, key)))
}

/// Checks what the mode asks for; the handshake's signature always, so that
/// channel binding and encryption mean something without roots too.
#[derive(Debug)]
struct Verifier {
    roots: Option<Roots>,
    check_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn chain(
        &self,
        roots: &Roots,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        if roots
            .exact
            .iter()
            .any(|root| root.as_ref() == leaf.as_ref())
        {
            let (from, until) = certificate::validity(leaf).ok_or(CertificateError::BadEncoding)?;
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            return match now {
                _ if now < from => Err(CertificateError::NotValidYet.into()),
                _ if now > until => Err(CertificateError::Expired.into()),
                _ => Ok(()),
            };
        }
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(leaf)?,
            &roots.store,
            intermediates,
            now,
            self.algorithms.all,
        )
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            self.chain(roots, leaf, intermediates, now)?;
        }
        if self.check_name {
            rustls::client::verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What a failed handshake means, if `cause` is rustls's own error.
#[must_use]
pub fn explain(info: &ConnInfo, cause: &rustls::Error) -> Error {
    let error =
        |kind, why: String| Error::new(kind, format!("{info}: the TLS handshake failed: {why}"));
    match cause {
        rustls::Error::InvalidCertificate(bad) => {
            let remedy = match bad {
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    "connect by a name that is in the certificate's subjectAltName, or use sslmode=verify-ca"
                }
                CertificateError::UnknownIssuer => {
                    "name the certificate of the authority that signed the server's with sslrootcert=…"
                }
                _ => "renew or replace the server's certificate",
            };
            error(
                Kind::Precondition,
                format!("the server's certificate was refused: {bad}"),
            )
            .remedy(remedy)
        }
        rustls::Error::AlertReceived(alert) => error(
            Kind::Precondition,
            format!("the server refused it with {alert:?}"),
        )
        .remedy(
            "check sslcert and sslkey, and the server's ssl_ca_file and ssl_min_protocol_version",
        ),
        other => error(Kind::Connection, other.to_string()),
    }
}

/// The error for a server without TLS.
#[must_use]
pub fn not_offered(info: &ConnInfo) -> Error {
    Error::new(
        Kind::Precondition,
        format!("{info}: the server does not offer TLS, and sslmode demands it"),
    )
    .remedy(
        "set ssl = on at the server, or use sslmode=prefer or disable if the network is trusted",
    )
}
