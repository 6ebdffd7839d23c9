//! A proxy between the switch and its server that cuts the connection at COMMIT.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Where the connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// COMMIT never arrives at the server.
    Before,
    /// COMMIT is sent, and nobody waits for the answer.
    Sent,
    /// COMMIT has happened; its answer is lost.
    Answered,
}

pub struct Proxy {
    port: u16,
    cut: Arc<Mutex<Option<Cut>>>,
    cuts: Arc<AtomicU32>,
}

/// The session that holds the lock, by its startup packet; the control session's name
/// goes on after `switch`.
const SESSION: &[u8] = b"application_name\0crossfade switch\0";
const COMMIT: &[u8] = b"Q\0\0\0\x0bcommit\0";

impl Proxy {
    /// Cuts once, then lets everything through.
    pub async fn start(server: u16, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            cut: Arc::new(Mutex::new(Some(cut))),
            cuts: Arc::default(),
        };
        let (cut, cuts) = (proxy.cut.clone(), proxy.cuts.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (cut, cuts) = (cut.clone(), cuts.clone());
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    pass(client, server, &cut, &cuts).await;
                });
            }
        });
        proxy
    }

    /// The server's URL with this proxy in between.
    pub fn url(&self, server: &str, port: u16) -> String {
        server.replacen(&format!(":{port}/"), &format!(":{}/", self.port), 1)
    }

    pub fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::Relaxed)
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    cut: &Mutex<Option<Cut>>,
    cuts: &AtomicU32,
) {
    let mut of_switch = false;
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(1..) = read else { return };
                let bytes = &up[..read.unwrap()];
                of_switch |= holds(bytes, SESSION);
                if of_switch && holds(bytes, COMMIT) {
                    let armed = cut.lock().unwrap().take();
                    if let Some(cut) = armed {
                        cuts.fetch_add(1, Ordering::Relaxed);
                        return finish(&mut server, bytes.to_vec(), cut).await;
                    }
                }
                if server.write_all(bytes).await.is_err() { return }
            }
            read = server.read(&mut down) => {
                let Ok(1..) = read else { return };
                if client.write_all(&down[..read.unwrap()]).await.is_err() { return }
            }
        }
    }
}

/// Both connections are closed when this returns.
async fn finish(server: &mut TcpStream, commit: Vec<u8>, cut: Cut) {
    if cut == Cut::Before {
        return;
    }
    server.write_all(&commit).await.unwrap();
    if cut == Cut::Answered {
        let _ = server.read(&mut [0; 1024]).await;
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|w| w == part)
}
