//! Asks forwarders for their tables and counters over their control sockets.

use super::layout::Site;
use anyhow::{Context, Result, bail};
use kc_forwarder_api::{Counters, Request, Response, Tables};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What one forwarder says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    /// Tables in force.
    pub(super) tables: Tables,
    /// Counters.
    pub(super) counters: Counters,
}

/// Snapshots by box name.
pub(super) type Snapshots = BTreeMap<String, Snapshot>;

/// Asks all boxes.
pub(super) fn snapshots(sites: &[Site]) -> Result<Snapshots> {
    sites
        .iter()
        .map(|site| {
            let snapshot = snapshot(site)
                .with_context(|| format!("the forwarder of {} does not answer", site.name))?;
            Ok((site.name.clone(), snapshot))
        })
        .collect()
}

/// Asks one box.
pub(super) fn snapshot(site: &Site) -> Result<Snapshot> {
    let mut connection = Connection::open(site)?;
    let Response::Tables { tables } = connection.ask(&Request::Tables)? else {
        bail!("it answered something else");
    };
    let Response::Counters { counters } = connection.ask(&Request::Counters)? else {
        bail!("it answered something else");
    };
    Ok(Snapshot {
        tables: *tables,
        counters: *counters,
    })
}

struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    fn open(site: &Site) -> Result<Self> {
        let path = site.forwarder();
        let stream = UnixStream::connect(&path).with_context(|| format!("{}", path.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    fn ask(&mut self, request: &Request) -> Result<Response> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer)?;
        match serde_json::from_str(&answer)? {
            Response::Error { error } => Err(error.into()),
            response => Ok(response),
        }
    }
}
