//! TLS by rustls with ring. The only module that builds rustls' configuration, from the files that the settings name.

use std::{
    fmt::Display,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::{
    error::{EscapedQuoted, SettingsError},
    settings::{Place, Tls},
};

pub(crate) struct TlsConfig {
    files: Tls,
    server_name: ServerName<'static>,
    /// Modification times of the files, and the configuration that was read from them.
    loaded: Mutex<(Vec<Option<SystemTime>>, Arc<ClientConfig>)>,
}

impl TlsConfig {
    pub(super) fn new(tls: &Tls, place: &Place) -> Result<Self, SettingsError> {
        let host = match place {
            Place::Tcp(host, _) => host.as_str(),
            Place::Unix(_) => "localhost",
        };
        let name = tls.server_name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(name.to_owned()).map_err(|_| {
            SettingsError::new(
                "servers",
                format!("server_name={}", EscapedQuoted(name)),
                "must be a DNS name or an IP address",
            )
        })?;
        let loaded = Mutex::new((modified(tls), Arc::new(load(tls)?)));
        Ok(Self { files: tls.clone(), server_name, loaded })
    }

    /// Returns the configuration. Reads the files again if they have changed, for renewed certificates. While the
    /// changed files cannot be used, the previous configuration stays in use.
    fn config(&self) -> Arc<ClientConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let now = modified(&self.files);
        if now != loaded.0 {
            match load(&self.files) {
                Ok(config) => *loaded = (now, Arc::new(config)),
                Err(error) => tracing::warn!(%error, "the TLS files have changed and cannot be used"),
            }
        }
        loaded.1.clone()
    }

    pub(super) fn client(&self) -> io::Result<ClientConnection> {
        ClientConnection::new(self.config(), self.server_name()).map_err(io::Error::other)
    }

    #[cfg(feature = "tokio")]
    pub(super) fn connector(&self) -> tokio_rustls::TlsConnector {
        self.config().into()
    }

    pub(super) fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }
}

fn files(tls: &Tls) -> impl Iterator<Item = &PathBuf> {
    tls.ca.iter().chain(tls.identity.iter().flat_map(|(cert, key)| [cert, key]))
}

fn modified(tls: &Tls) -> Vec<Option<SystemTime>> {
    files(tls).map(|file| file.metadata().and_then(|file| file.modified()).ok()).collect()
}

fn load(tls: &Tls) -> Result<ClientConfig, SettingsError> {
    // The provider is named, because rustls panics if a program depends on several providers and none is chosen.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let refuse = |setting: &str, path: &Path, error: &dyn Display| {
        let reason = format!("cannot use the file: {error}");
        SettingsError::new("servers", format!("{setting}={}", path.display()), reason)
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| SettingsError::new("servers", "tls://", error.to_string()))?;
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(path) => {
            for certificate in certificates(path).map_err(|error| refuse("ca", path, &error))? {
                roots.add(certificate).map_err(|error| refuse("ca", path, &error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = builder.with_root_certificates(roots);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates(cert).map_err(|error| refuse("cert", cert, &error))?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse("key", key, &error))?;
            let config = builder.with_client_auth_cert(chain, secret);
            config.map_err(|error| refuse("cert", cert, &error))?
        }
    };
    // memcached with `ssl_verify_mode=2` refuses two of three resumed TLS sessions.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let invalid =
        |error: rustls::pki_types::pem::Error| io::Error::new(ErrorKind::InvalidData, error.to_string());
    let all = CertificateDer::pem_file_iter(path).map_err(invalid)?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    if all.is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidData, "it holds no certificate"));
    }
    Ok(all)
}
