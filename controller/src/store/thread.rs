//! The thread that owns the connection, and the handle to it.

use super::error::StoreError;
use super::query::{self, EventQuery, StoredEvent};
use super::schema;
use super::write::{self, Commit, Committed, Loaded};
use rusqlite::Connection;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the store; clones share it. The file is closed when the last one goes.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    path: std::sync::Arc<Path>,
}

impl Store {
    /// Opens or makes the file and reads what is in it. Blocks.
    pub fn open(path: &Path) -> Result<(Self, Loaded), StoreError> {
        let mut connection = schema::open(path)?;
        let loaded =
            write::load(&connection).map_err(|source| schema::sql(path.to_owned(), source))?;
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("store".into())
            .spawn(move || {
                for job in queue {
                    job(&mut connection);
                }
            })
            .map_err(StoreError::Thread)?;
        let store = Self {
            jobs,
            path: path.into(),
        };
        Ok((store, loaded))
    }

    /// Writes one transaction; it is on the disk when this returns.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        self.call(move |connection| write::commit(connection, &commit))
            .await
    }

    /// Events in the order they were stored.
    pub async fn events(&self, query: EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.call(move |connection| query::events(connection, &query))
            .await
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody may be waiting any more; the work is done all the same.
            let _ = answer.send(work(connection));
        });
        self.jobs.send(job).map_err(|_| StoreError::Gone)?;
        wait.await
            .map_err(|_| StoreError::Gone)?
            .map_err(|source| schema::sql(self.path.to_path_buf(), source))
    }
}
