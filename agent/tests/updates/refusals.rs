//! Updates that are refused before anything is tried: the box is as it was.

use crate::package::{Signer, archive, compiled, version};
use crate::site::{Plan, Site, in_a_namespace, text};
use crate::support::{PATIENCE, run};
use kc_agent_api::{CallBody, Reply, ReplyBody};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn whatever_is_wrong_is_refused_by_name_and_changes_nothing() {
    in_a_namespace(async || {
        let Some(mut site) = Site::start(Plan::default()).await else {
            return;
        };
        let (pid, arch) = (site.pid(), std::env::consts::ARCH);
        let program = compiled(site.dir.path(), "return 0;");
        let good = version("0.2.0", &program);
        let (size, signature) = (good.len() as u64, site.signer.sign(&good));

        let mut tampered = good.clone();
        tampered[600] ^= 1;
        let sent = site.send(1, &tampered, size, signature.clone(), false);
        assert!(
            sent.await
                .unwrap_err()
                .contains("changed after it was signed")
        );
        let sent = site.send(2, &good[..good.len() - 1], size, signature.clone(), false);
        assert!(sent.await.unwrap_err().contains("cut off"));
        let cut = &good[..good.len() / 2];
        let sent = site.send(3, cut, cut.len() as u64, signature.clone(), false);
        assert!(
            sent.await
                .unwrap_err()
                .contains("changed after it was signed")
        );
        let longer = [&good[..], &[0; 100_000]].concat();
        let sent = site.send(4, &longer, size, signature.clone(), false);
        assert!(sent.await.unwrap_err().contains("octets and not"));
        let strange = Signer::new().sign(&good);
        let refused = site.send(5, &good, size, strange, false).await.unwrap_err();
        assert!(
            refused.contains("none of the keys") && refused.contains("owner.pub"),
            "{refused}"
        );
        for none in ["", "rubbish", "untrusted comment: x\nRWQ\n"] {
            let sent = site.send(6, &good, size, none.to_owned(), false);
            assert!(sent.await.unwrap_err().contains("minisign"));
        }
        let sent = site.send(7, &good, 65 << 20, signature.clone(), false);
        assert!(sent.await.unwrap_err().contains("too large"));

        let other = if arch == "aarch64" {
            "x86_64"
        } else {
            "aarch64"
        };
        let mut cross = program.clone();
        cross[18] = if arch == "aarch64" { 62 } else { 183 };
        let evil = |name| archive("0.2.0", arch, &[("kc-agent", &program), (name, b"evil")]);
        let cases = [
            (archive("0.2.0", other, &[("kc-agent", &program)]), other),
            (version("0.2.0", &cross), other),
            (version("0.2.0", b"#!/bin/sh\nexec true\n     "), "no ELF"),
            (version("0.1.0", &program), "runs already"),
            (version("0.0.9", &program), "--allow-downgrade"),
            (version("../../../tmp", &program), "none, such as"),
            (evil("../../../../tmp/kc-evil"), "does not belong"),
            (evil("/tmp/kc-evil"), "does not belong"),
            (evil("current"), "does not belong"),
            (
                archive("0.2.0", arch, &[("kc-forwarder", &program)]),
                "no kc-agent",
            ),
            (b"no archive at all".to_vec(), "archive"),
        ];
        for (attempt, (octets, word)) in (8..).zip(&cases) {
            let refused = site.update(attempt, octets).await.unwrap_err();
            assert!(refused.contains(word), "{word}: {refused}");
            assert_eq!(site.shelved(), Vec::<String>::new(), "{word}");
        }
        assert!(!std::path::Path::new("/tmp/kc-evil").exists());

        // Without a key nobody may.
        fs::remove_file(site.dir.path().join("trust.d/owner.pub")).unwrap();
        let refused = site.update(50, &good).await.unwrap_err();
        assert!(
            refused.contains("trusts no key") && refused.contains("trust.d"),
            "{refused}"
        );
        assert!(!site.state_dir.join("update.json").exists());
        assert!(site.is_alive() && site.agents() == [pid]);
        assert_eq!(
            Site::exe(pid),
            fs::canonicalize(env!("CARGO_BIN_EXE_kc-agent")).unwrap()
        );
    });
}

/// A disk of its own for the box's state.
struct Disk(tempfile::TempDir);

impl Disk {
    fn of(megabytes: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &size, "tmpfs", text(dir.path())],
        );
        Self(dir)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn a_full_disk_is_named_and_nothing_half_is_left() {
    in_a_namespace(async || {
        let disk = Disk::of(40);
        let plan = Plan {
            state_dir: Some(disk.0.path().to_owned()),
            ..Plan::default()
        };
        let Some(mut site) = Site::start(plan).await else {
            return;
        };
        let mut program = compiled(site.dir.path(), "return 0;");
        program.resize(8 << 20, 0);
        // Room for the archive, none for what is in it.
        let rest = disk.0.path().join("rest");
        fs::write(&rest, vec![1; 25 << 20]).unwrap();
        let refused = site
            .update(1, &version("0.2.0", &program))
            .await
            .unwrap_err();
        assert!(
            refused.contains("no room") && refused.contains("are free"),
            "{refused}"
        );
        fs::remove_file(&rest).unwrap();

        // It fills up while the archive comes: everything that was written goes again.
        let archive = version("0.2.0", &program);
        let signature = site.signer.sign(&archive);
        let full = disk.0.path().join("full");
        let watch = disk.0.path().join("versions/.incoming.tar");
        let filler = std::thread::spawn(move || {
            while fs::metadata(&watch).map_or(0, |found| found.len()) < 1 << 20 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let _ = fs::write(&full, vec![1; 40 << 20]);
        });
        let size = archive.len() as u64;
        let refused = site.send(2, &archive, size, signature, false).await;
        filler.join().unwrap();
        let refused = refused.unwrap_err();
        assert!(refused.contains("No space left"), "{refused}");
        assert_eq!(site.shelved(), Vec::<String>::new());
        fs::remove_file(disk.0.path().join("full")).unwrap();
        site.update(3, &archive).await.unwrap();
        site.until_decided(3).await;
    });
}

#[test]
fn one_update_at_a_time_and_one_that_nobody_goes_on_with_leaves_nothing() {
    in_a_namespace(async || {
        let Some(mut site) = Site::start(Plan::default()).await else {
            return;
        };
        let archive = version("0.2.0", &compiled(site.dir.path(), "return 0;"));
        let signature = site.signer.sign(&archive);
        let id = site.call(CallBody::Update {
            attempt: 1,
            size: archive.len() as u64,
            signature,
            allow_downgrade: false,
            credit: 32,
        });
        let begun = |reply: Reply| matches!(reply.body, ReplyBody::Begun { .. }).then_some(());
        site.until(&format!("/reply/{id}"), "begun", begun).await;
        assert_eq!(site.shelved(), [".incoming.tar"]);
        let refused = site.update(2, &archive).await.unwrap_err();
        assert!(refused.contains("under way"), "{refused}");
        site.call(CallBody::Cancel { id });
        let deadline = Instant::now() + PATIENCE;
        while !site.shelved().is_empty() {
            assert!(Instant::now() < deadline, "{:?}", site.shelved());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        site.update(3, &archive).await.unwrap();
        site.until_decided(3).await;
    });
}
