//! A network between client and broker that can be cut silently: bytes stop, nobody is told.

use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The network.
pub(crate) struct Proxy {
    /// Where clients connect.
    pub(crate) port: u16,
    cut: watch::Sender<bool>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// A network in front of the broker on `to`.
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = watch::Sender::new(false);
        let watched = cut.clone();
        let listener = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let cut = watched.subscribe();
                tokio::spawn(async move {
                    let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else {
                        return;
                    };
                    let (client_in, client_out) = client.into_split();
                    let (broker_in, broker_out) = broker.into_split();
                    tokio::join!(
                        pass(client_in, broker_out, cut.clone()),
                        pass(broker_in, client_out, cut),
                    );
                });
            }
        });
        Self {
            port,
            cut,
            listener,
        }
    }

    /// Stops or resumes all forwarding. Connections stay as they are.
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        if cut.wait_for(|cut| !cut).await.is_err() {
            return;
        }
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            let _ = to.shutdown().await;
            return;
        };
        if cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&buffer[..count]).await.is_err()
        {
            return;
        }
    }
}
