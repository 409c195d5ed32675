//! An nginx in front of the endpoints, to compare with.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use http::HeaderName;
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use super::error::Error;

/// The response header in which nginx names the endpoints that it asked, one after the other.
pub(super) const ASKED: HeaderName = HeaderName::from_static("x-asked");

/// The name of the set of endpoints. It stands in for an endpoint where all are left out.
pub(super) const SET: &str = "api";

/// How long nginx may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a free port may turn out to be taken.
const TRIES: u32 = 3;

/// What of the recipe is a matter of taste.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recipe {
    /// Failures within [`fail_timeout`](Self::fail_timeout) after which an endpoint is left out for
    /// as long; 0 for never. Default: 3.
    pub max_fails: u32,
    /// In whole seconds, as nginx reads it. Default: 2 s.
    pub fail_timeout: Duration,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { max_fails: 3, fail_timeout: Duration::from_secs(2) }
    }
}

impl Recipe {
    /// The configuration of an nginx that listens on `port` of this machine. File names in it are
    /// relative to the prefix that nginx is started with.
    ///
    /// One process without a master: it can then be killed without leaving a worker behind.
    fn configuration(&self, port: u16, endpoints: &[SocketAddr]) -> String {
        let Self { max_fails, fail_timeout } = self;
        let seconds = fail_timeout.as_secs();
        let servers: String = endpoints
            .iter()
            .map(|endpoint| {
                format!("server {endpoint} max_fails={max_fails} fail_timeout={seconds}s;\n")
            })
            .collect();
        format!(
            "daemon off;
            master_process off;
            worker_processes 1;
            pid nginx.pid;
            error_log stderr emerg;
            events {{ worker_connections 4096; }}
            http {{
                access_log off;
                client_body_temp_path body;
                proxy_temp_path proxy;
                fastcgi_temp_path fastcgi;
                uwsgi_temp_path uwsgi;
                scgi_temp_path scgi;
                keepalive_requests 1000000;
                upstream {SET} {{
                    least_conn;
                    {servers}
                    keepalive 512;
                    keepalive_requests 1000000;
                }}
                server {{
                    listen 127.0.0.1:{port} backlog=4096;
                    location / {{
                        proxy_pass http://{SET};
                        proxy_http_version 1.1;
                        proxy_set_header Connection \"\";
                        proxy_next_upstream error timeout http_503 http_429 non_idempotent;
                        proxy_next_upstream_tries 3;
                        add_header {ASKED} $upstream_addr always;
                    }}
                }}
            }}\n"
        )
    }
}

/// A running nginx. Dropping it kills the process and removes its files.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Nginx {
    /// Looks whether the program can be started.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if it cannot.
    pub fn check(program: &Path) -> Result<(), Error> {
        let refused = |reason: String| {
            let hint = "install nginx, or say with --nginx or BUTTRESS_NGINX where it is";
            Error::setting("--compare", format!("`{}` {reason}; {hint}", program.display()))
        };
        let status = Command::new(program)
            .arg("-v")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| refused(format!("cannot be run ({error})")))?;
        if !status.success() {
            return Err(refused("does not know -v, as nginx would".to_owned()));
        }
        Ok(())
    }

    /// Starts nginx in front of `endpoints`, on a free port of this machine, and waits until it
    /// listens.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] with what nginx said, if it does not.
    pub async fn start(
        program: &Path,
        endpoints: &[SocketAddr],
        recipe: &Recipe,
    ) -> Result<Self, Error> {
        let mut tries = 1;
        loop {
            let mut nginx = Self::launch(program, endpoints, recipe)?;
            let Err(said) = nginx.listening().await else { return Ok(nginx) };
            // Between our look at the port and nginx taking it, somebody else may have.
            if tries == TRIES || !said.contains("Address already in use") {
                return Err(Error::io("start nginx")(io::Error::other(said)));
            }
            tries += 1;
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn launch(program: &Path, endpoints: &[SocketAddr], recipe: &Recipe) -> Result<Self, Error> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(Error::io("find a free port for nginx"))?;
        let write = Error::io("write the configuration of nginx");
        let prepared = TempDir::new().and_then(|directory| {
            let configuration = recipe.configuration(free.port(), endpoints);
            fs::write(directory.path().join("nginx.conf"), configuration)?;
            let log = File::create(directory.path().join("stderr"))?;
            Ok((directory, log))
        });
        let (directory, log) = prepared.map_err(write)?;
        let child = Command::new(program)
            .arg("-p")
            .arg(directory.path())
            // `-e`: or it opens the log of the system's own nginx before it reads its configuration.
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(Error::io("start nginx"))?;
        Ok(Self { child, address: free, directory })
    }

    /// Waits until the port answers; what nginx said if it ends instead.
    async fn listening(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            // First, so that nobody else's listener on that port is taken for nginx.
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                let said = fs::read_to_string(self.directory.path().join("stderr"));
                return Err(said.unwrap_or_default());
            }
            if TcpStream::connect(self.address).await.is_ok() {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err("it does not listen".to_owned());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Fails only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_each_endpoint_and_the_recipe() {
        let endpoints = [SocketAddr::from(([127, 0, 0, 1], 81)), ([127, 0, 0, 1], 82).into()];
        let recipe = Recipe { max_fails: 0, ..Recipe::default() };
        let text = recipe.configuration(8080, &endpoints);
        for line in [
            "least_conn;",
            "server 127.0.0.1:81 max_fails=0 fail_timeout=2s;",
            "server 127.0.0.1:82 max_fails=0 fail_timeout=2s;",
            "listen 127.0.0.1:8080 backlog=4096;",
            "proxy_set_header Connection \"\";",
        ] {
            assert!(text.lines().any(|found| found.trim() == line), "{line} is not in {text}");
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
