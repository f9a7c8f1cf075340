//! `kc cp`: there and back, and archives from boxes that mean no good.

use super::exec::noise;
use super::logs::{cluster, home};
use kc_agent_api::Entry;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use tar::{Builder, EntryType, Header};

#[test]
fn a_directory_goes_there_and_comes_back_as_it_was() {
    let (site, boxes) = cluster();
    let home = home(&site, &boxes, "firewall-1");
    let here = site.directory.path().join("here");
    fs::create_dir_all(here.join("deep/er")).unwrap();
    fs::write(here.join("deep/er/noise"), noise(2 << 20)).unwrap();
    let mode = fs::Permissions::from_mode(0o750);
    fs::set_permissions(here.join("deep/er/noise"), mode).unwrap();
    symlink("er/noise", here.join("deep/link")).unwrap();
    home.inside.lock().unwrap().entry = Some(Entry::Directory);
    let from = here.join("deep").display().to_string();
    let said = site.says(&["cp", &from, "firewall-1:/srv"]);
    assert_eq!(said, "");
    {
        let mut inside = home.inside.lock().unwrap();
        inside.archive = std::mem::take(&mut inside.uploaded);
    }
    let to = here.join("copy");
    fs::create_dir(&to).unwrap();
    site.says(&["cp", "firewall-1:/srv/deep", &to.display().to_string()]);
    let noisy = to.join("deep/er/noise");
    assert!(fs::read(&noisy).unwrap() == noise(2 << 20));
    let mode = fs::metadata(&noisy).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o750);
    let link = fs::read_link(to.join("deep/link")).unwrap();
    assert_eq!(link, Path::new("er/noise"));

    // As a stream the archive is what it is.
    let archive = home.inside.lock().unwrap().archive.clone();
    let output = site.kc(&["cp", "firewall-1:/srv/deep", "-"]).output();
    assert!(output.unwrap().stdout == archive);
    let mut kc = site.kc(&["cp", "-", "firewall-1:/srv"]);
    kc.write_stdin(archive.clone()).assert().code(0);
    assert!(home.inside.lock().unwrap().uploaded == archive);
}

#[test]
fn a_file_takes_the_name_it_is_given() {
    let (site, boxes) = cluster();
    let home = home(&site, &boxes, "firewall-1");
    let from = site.file("rules", "accept");
    for (entry, to, name) in [
        (Some(Entry::Directory), "firewall-1:/etc", "rules"),
        (Some(Entry::File), "firewall-1:/etc/old", "old"),
        (None, "firewall-1:/etc/new", "new"),
    ] {
        home.inside.lock().unwrap().entry = entry;
        site.says(&["cp", &from, to]);
        let octets = home.inside.lock().unwrap().uploaded.clone();
        let mut archive = tar::Archive::new(&*octets);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(entry.header().uid().unwrap(), 0);
            entry.path().unwrap().into_owned()
        });
        let names: Vec<_> = entries.collect();
        assert_eq!(names, [Path::new(name)]);
    }
}

#[test]
fn an_archive_that_means_no_good_harms_nobody() {
    let (site, boxes) = cluster();
    let home = home(&site, &boxes, "firewall-1");
    let beside = site.file("beside", "as it was");
    let to = site.directory.path().join("to");
    fs::create_dir(&to).unwrap();
    let mut tar = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    tar.append_link(&mut header, "x/door", "../..").unwrap();
    let mut header = Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    tar.append_data(&mut header, "x/door/beside", &b"evil"[..])
        .unwrap();
    {
        let mut inside = home.inside.lock().unwrap();
        inside.entry = Some(Entry::Directory);
        inside.archive = tar.into_inner().unwrap();
    }
    let words = ["cp", "firewall-1:/x", &to.display().to_string()];
    let output = site.kc(&words).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("refused"), "{errors}");
    assert_eq!(fs::read_to_string(beside).unwrap(), "as it was");
}

#[test]
fn a_copy_that_makes_no_sense_is_told_so() {
    let (site, boxes) = cluster();
    home(&site, &boxes, "firewall-1")
        .inside
        .lock()
        .unwrap()
        .entry = Some(Entry::File);
    let directory = site.directory.path().display().to_string();
    for (from, to, code, words) in [
        ("a", "b", 2, "must be INSTANCE:PATH"),
        ("firewall-1:/a", "firewall-2:/b", 2, "copy it here first"),
        ("firewall-1:", ".", 2, "firewall-1:/PATH"),
        ("firewal-1:/a", ".", 3, "did you mean firewall-1?"),
        ("/nowhere", "firewall-1:/a", 1, "cannot read /nowhere"),
        (&directory, "firewall-1:/a", 2, "is no directory"),
    ] {
        let output = site.kc(&["cp", from, to]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{from} {to}: {errors}");
        assert!(errors.contains(words), "{errors}");
    }
}
