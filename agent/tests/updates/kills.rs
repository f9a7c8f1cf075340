//! kill -9 of the guard and of the version on trial, at any moment: one agent remains, never two, and
//! what became of the update is told.

use crate::package::{compiled, real, version};
use crate::site::{Plan, Site, in_a_namespace};
use kc_agent_api::{EventKind, UpdateOutcome};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Waits until as many agents of this box run as wanted.
async fn until_agents(site: &Site, what: &str, wanted: impl Fn(&[u32]) -> bool) -> Vec<u32> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let agents = site.agents();
        if wanted(&agents) {
            return agents;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: {agents:?}: {}",
            site.log()
        );
        sleep(Duration::from_millis(2)).await;
    }
}

fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_guard_that_is_killed_takes_its_version_along_whatever_that_is() {
    in_a_namespace(async || {
        let Some(mut site) = Site::start(Plan::default()).await else {
            return;
        };
        let hangs = compiled(site.dir.path(), "for (;;) pause();");
        for (attempt, program) in [(1, &hangs[..]), (2, real())] {
            site.update(attempt, &version("0.2.0", program))
                .await
                .unwrap();
            until_agents(&site, "on trial", |agents| agents.len() == 2).await;
            site.kill_agent();
            let began = Instant::now();
            until_agents(&site, "nobody", <[u32]>::is_empty).await;
            eprintln!(
                "measured: guard killed to its version gone {:?}",
                began.elapsed()
            );
            site.start_agent();
            let (status, record) = site.until_decided(attempt).await;
            assert_eq!(
                (status.version.as_str(), record.outcome),
                ("0.1.0", UpdateOutcome::Failed)
            );
            site.until_event(EventKind::AgentUpdateFailed, "went down")
                .await;
            assert_eq!(site.agents(), [site.pid()]);
        }
    });
}

#[test]
fn a_version_that_is_killed_on_trial_is_given_up() {
    in_a_namespace(async || {
        let Some(mut site) = Site::start(Plan::default()).await else {
            return;
        };
        let pid = site.pid();
        site.update(1, &version("0.2.0", real())).await.unwrap();
        let agents = until_agents(&site, "on trial", |agents| agents.len() == 2).await;
        // The first thing it becomes is what binds it to its guard.
        let child = agents.into_iter().find(|one| *one != pid).unwrap();
        let program = site.state_dir.join("versions/0.2.0/kc-agent");
        while Site::exe(child) != program.canonicalize().unwrap() {
            sleep(Duration::from_millis(1)).await;
        }
        kill(child);
        let (status, record) = site.until_decided(1).await;
        assert_eq!(
            (status.version.as_str(), record.outcome),
            ("0.1.0", UpdateOutcome::Failed)
        );
        assert!(record.reason.unwrap().contains("signal: 9"));
        assert_eq!(site.agents(), [pid]);
    });
}

#[test]
fn whenever_the_guard_is_killed_the_next_start_is_one_agent_that_knows_what_happened() {
    in_a_namespace(async || {
        let Some(mut site) = Site::start(Plan::default()).await else {
            return;
        };
        let (mut taken, mut given_up) = (0, 0);
        for (attempt, wait_ms) in
            (1u32..).zip([0, 20, 60, 150, 400, 1_500, 3_000, 3_400, 3_700, 4_500])
        {
            let offered = format!("0.2.{attempt}");
            site.update(attempt, &version(&offered, real()))
                .await
                .unwrap();
            sleep(Duration::from_millis(wait_ms)).await;
            site.kill_agent();
            until_agents(&site, "nobody", <[u32]>::is_empty).await;
            site.catch_up().await;
            site.start_agent();
            let (status, record) = site.until_decided(attempt).await;
            // What is taken runs, and what runs is what the next start would be.
            let runs_it = status.version == offered;
            assert_eq!(
                runs_it,
                record.outcome == UpdateOutcome::Updated,
                "{wait_ms} ms: {record:?}"
            );
            let current = site.current();
            let current = current.and_then(|path| path.to_str().map(str::to_owned));
            assert_eq!(current.unwrap_or_else(|| "0.1.0".into()), status.version);
            assert_eq!(site.agents(), [site.pid()]);
            assert_eq!(site.shelved().contains(&offered), runs_it);
            match runs_it {
                true => taken += 1,
                false => given_up += 1,
            }
        }
        eprintln!("measured: {taken} taken, {given_up} given up");
        assert!(
            taken > 0 && given_up > 0,
            "every kill came at the same moment"
        );
    });
}

#[test]
fn a_version_that_ends_again_and_again_after_it_was_taken_is_given_up_for_the_package() {
    in_a_namespace(async || {
        let Some(mut site) = Site::start(Plan::default()).await else {
            return;
        };
        site.update(1, &version("0.2.0", real())).await.unwrap();
        site.until_decided(1).await;
        for _ in 0..5 {
            site.crash().await;
            site.start_agent();
            site.until_online().await;
        }
        site.crash().await;
        site.start_agent();
        site.until_event(EventKind::AgentUpdateFailed, "it ended 5 times")
            .await;
        assert_eq!(site.current(), None);
    });
}

#[test]
fn whoever_ends_the_agent_ends_the_trial_and_the_box_says_so() {
    in_a_namespace(async || {
        let Some(mut site) = Site::start(Plan::default()).await else {
            return;
        };
        for (attempt, program) in [
            (1, &compiled(site.dir.path(), "for (;;) pause();")[..]),
            (2, real()),
        ] {
            site.update(attempt, &version("0.2.0", program))
                .await
                .unwrap();
            until_agents(&site, "on trial", |agents| agents.len() == 2).await;
            sleep(Duration::from_millis(500)).await;
            let began = Instant::now();
            let pid = nix::unistd::Pid::from_raw(site.pid().cast_signed());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
            assert!(site.until_end().await.success());
            until_agents(&site, "nobody", <[u32]>::is_empty).await;
            assert!(
                began.elapsed() < Duration::from_secs(8),
                "a unit's stop takes 10 s at most"
            );
            site.start_agent();
            let (_, record) = site.until_decided(attempt).await;
            assert_eq!(record.outcome, UpdateOutcome::Failed);
            assert_eq!(site.shelved(), Vec::<String>::new());
        }
    });
}

#[test]
fn a_version_whose_file_has_rotted_is_passed_over_for_the_package() {
    in_a_namespace(async || {
        let Some(mut site) = Site::start(Plan::default()).await else {
            return;
        };
        site.update(1, &version("0.2.0", real())).await.unwrap();
        site.until_decided(1).await;
        site.crash().await;
        let program = site.state_dir.join("versions/0.2.0/kc-agent");
        for rest in [0, 100] {
            let file = std::fs::File::options().write(true).open(&program);
            file.unwrap().set_len(rest).unwrap();
            site.start_agent();
            assert_eq!(site.until_online().await.version, "0.1.0");
            site.crash().await;
        }
    });
}
