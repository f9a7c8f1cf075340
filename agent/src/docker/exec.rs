//! Commands of health checks and hooks in a container.

use super::DockerError;
use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use std::time::Duration;

/// Runs `command` in the container `id`; its exit code, or nothing when it took longer than `limit`
/// and was killed. What it says is not kept.
pub async fn exec(
    docker: &Docker,
    id: &str,
    command: Vec<String>,
    environment: Vec<String>,
    limit: Duration,
) -> Result<Option<i64>, DockerError> {
    let refused = |error| DockerError::refused("run a command in", id)(error);
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command),
        env: Some(environment),
        ..CreateExecOptions::default()
    };
    let made = docker.create_exec(id, options).await.map_err(refused)?;
    let run = async {
        let start = None::<StartExecOptions>;
        if let StartExecResults::Attached { mut output, .. } =
            docker.start_exec(&made.id, start).await.map_err(refused)?
        {
            // Read to its end: a full pipe would hold the command up.
            while output.next().await.is_some() {}
        }
        let ended = docker.inspect_exec(&made.id).await.map_err(refused)?;
        Ok(Some(ended.exit_code.unwrap_or(-1)))
    };
    match tokio::time::timeout(limit, run).await {
        Ok(ended) => ended,
        Err(_) => {
            kill(docker, &made.id).await;
            Ok(None)
        }
    }
}

/// The engine has no call for this: what runs in a container is a process of the box.
async fn kill(docker: &Docker, exec: &str) {
    let Ok(state) = docker.inspect_exec(exec).await else {
        return;
    };
    let pid = state.pid.and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid.filter(|pid| *pid > 1 && state.running == Some(true)) {
        let pid = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
}
