//! Word from the kernel when an interface of the box changes.

use super::WiringError;
use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkAttribute;
use tokio::sync::mpsc;

/// Names of interfaces that changed, appeared or went; an empty name means that the kernel had
/// more to say than we could hear, and anything may have changed. Closing it ends the watch.
pub type LinkMonitor = mpsc::Receiver<String>;

/// Watches the interfaces of the calling thread's namespace.
pub fn monitor() -> Result<LinkMonitor, WiringError> {
    let groups = [MulticastGroup::Link];
    let (connection, _, mut messages) =
        rtnetlink::new_multicast_connection(&groups).map_err(WiringError::Netlink)?;
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        let connection = tokio::spawn(connection);
        while let Some((message, _)) = messages.next().await {
            let name = match message.payload {
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link),
                ) => link
                    .attributes
                    .into_iter()
                    .find_map(|attribute| match attribute {
                        LinkAttribute::IfName(name) => Some(name),
                        _ => None,
                    }),
                NetlinkPayload::Overrun(_) => Some(String::new()),
                _ => None,
            };
            if let Some(name) = name
                && sender.send(name).await.is_err()
            {
                break;
            }
        }
        connection.abort();
    });
    Ok(receiver)
}
