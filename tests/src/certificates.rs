//! Certificates as a private CA gives them, and those that nobody should take.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::{Folder, Memcached};

/// PEM files: `ca.pem`; by this CA `server.pem`, `server.key` (for 127.0.0.1 and cache.test), `client.pem` and
/// `client.key`; and by another, `other-ca.pem`, the same with `other-` before the name.
#[derive(Debug)]
pub struct Certificates(Folder);

impl Certificates {
    #[track_caller]
    pub fn create() -> Self {
        let folder = Folder::create();
        write_ca(&folder, "");
        write_ca(&folder, "other-");
        Self(folder)
    }

    pub fn file(&self, name: &str) -> String {
        self.0.file(name)
    }

    /// Writes one more file, or over one of these.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) -> String {
        self.0.write(name, text)
    }

    /// A memcached that speaks TLS alone.
    #[track_caller]
    pub fn start(&self) -> Memcached {
        self.start_with(&[])
    }

    /// With more of its options.
    #[track_caller]
    pub fn start_with(&self, options: &[&str]) -> Memcached {
        Memcached::start_with(&[&["-Z", "-o", &self.server_files()], options].concat())
            .reached_as("tls://", &format!("?ca={}", self.file("ca.pem")))
    }

    /// A memcached that asks clients for a certificate.
    #[track_caller]
    pub fn start_mutual(&self) -> Memcached {
        let options =
            format!("{},ssl_ca_cert={},ssl_verify_mode=2", self.server_files(), self.file("ca.pem"));
        Memcached::start_with(&["-Z", "-o", &options]).reached_as("tls://", &self.client_query("client"))
    }

    /// A memcached that speaks TLS alone and asks for a password.
    #[track_caller]
    pub fn start_with_password(&self, user: &str, password: &str) -> Memcached {
        Memcached::start_with_password(user, password, &["-Z", "-o", &self.server_files()])
            .reached_as(&format!("tls://{user}:{password}@"), &format!("?ca={}", self.file("ca.pem")))
    }

    /// What follows a server's address, for a client with this certificate.
    pub fn client_query(&self, client: &str) -> String {
        let [ca, cert, key] =
            ["ca.pem", &format!("{client}.pem"), &format!("{client}.key")].map(|name| self.file(name));
        format!("?ca={ca}&cert={cert}&key={key}")
    }

    fn server_files(&self) -> String {
        format!("ssl_chain_cert={},ssl_key={}", self.file("server.pem"), self.file("server.key"))
    }
}

#[track_caller]
fn write_ca(folder: &Folder, prefix: &str) {
    let mut params = named(&format!("{prefix}ca"), &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    folder.write(&format!("{prefix}ca.pem"), &ca.pem());
    for (name, hosts) in [("server", &["127.0.0.1", "cache.test"][..]), ("client", &[])] {
        let key = KeyPair::generate().unwrap();
        let certificate = named(&format!("{prefix}{name}"), hosts).signed_by(&key, &ca).unwrap();
        folder.write(&format!("{prefix}{name}.pem"), &certificate.pem());
        folder.write(&format!("{prefix}{name}.key"), &key.serialize_pem());
    }
}

/// Two CAs of the same name would be taken for one with a bad signature.
fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
