use super::*;

struct Place {
    _directory: tempfile::TempDir,
    lockfile: PathBuf,
    keep: Keep,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let lockfile = directory.path().join("Cargo.lock");
    fs::write(&lockfile, "old").unwrap();
    fs::set_permissions(&lockfile, fs::Permissions::from_mode(0o640)).unwrap();
    let keep = Keep::of(&directory.path().join("state"), &lockfile).unwrap();
    Place { _directory: directory, lockfile, keep }
}

fn content(place: &Place) -> String {
    assert_eq!(fs::metadata(&place.lockfile).unwrap().permissions().mode() & 0o7777, 0o640);
    fs::read_to_string(&place.lockfile).unwrap()
}

fn write(place: &Place, text: &str) {
    fs::write(&place.lockfile, text).unwrap();
}

#[test]
fn a_step_ends_with_the_old_one_or_the_new_one_and_nothing_to_recover() {
    let place = place();
    let step = place.keep.begin().unwrap();
    write(&place, "new");
    step.restore().unwrap();
    assert_eq!(content(&place), "old");
    let mut step = place.keep.begin().unwrap();
    write(&place, "new");
    assert_eq!(step.is_moved().unwrap(), b"new");
    step.keep().unwrap();
    assert_eq!(content(&place), "new");
    assert_eq!(place.keep.recover(true).unwrap(), None);
}

#[test]
fn a_run_killed_before_its_word_was_given_is_taken_back() {
    let place = place();
    // While cargo wrote.
    place.keep.begin().unwrap();
    write(&place, "ha");
    assert_eq!(place.keep.recover(false).unwrap(), Some(Found::Old));
    assert_eq!(content(&place), "ha", "a dry run changes nothing");
    assert_eq!(place.keep.recover(true).unwrap(), Some(Found::Old));
    assert_eq!(content(&place), "old");
    assert_eq!(fs::read_to_string(place.keep.aside()).unwrap(), "ha");
    // While it was verified.
    let mut step = place.keep.begin().unwrap();
    write(&place, "new");
    step.is_moved().unwrap();
    assert_eq!(place.keep.recover(true).unwrap(), Some(Found::Old));
    assert_eq!(content(&place), "old");
    assert_eq!(place.keep.recover(true).unwrap(), None);
}

#[test]
fn a_verified_one_stays_and_so_does_what_somebody_else_wrote() {
    let place = place();
    let mut step = place.keep.begin().unwrap();
    write(&place, "new");
    step.is_moved().unwrap();
    step.note.stage = Stage::Verified;
    step.write().unwrap();
    assert_eq!(place.keep.recover(true).unwrap(), Some(Found::Verified));
    assert_eq!(content(&place), "new");
    let mut step = place.keep.begin().unwrap();
    write(&place, "newer");
    step.is_moved().unwrap();
    write(&place, "by hand");
    assert_eq!(place.keep.recover(true).unwrap(), Some(Found::Other));
    assert_eq!(content(&place), "by hand");
}

#[test]
fn the_process_that_still_writes_is_ended_first_and_a_later_one_of_its_number_is_not() {
    let place = place();
    let mut other = std::process::Command::new("sleep");
    let mut child = std::os::unix::process::CommandExt::process_group(&mut other, 0).arg("60").spawn().unwrap();
    let id = i32::try_from(child.id()).unwrap();
    let mut step = place.keep.begin().unwrap();
    step.writes(id).unwrap();
    let process = step.note.process.unwrap();
    end(Process { started: process.started + 1, ..process }).unwrap();
    assert!(child.try_wait().unwrap().is_none(), "another process was ended");
    assert_eq!(place.keep.recover(true).unwrap(), Some(Found::Old));
    let ended = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9));
}

#[test]
fn a_copy_that_was_tampered_with_is_not_put_back() {
    let place = place();
    place.keep.begin().unwrap();
    write(&place, "new");
    fs::write(&place.keep.copy, "other").unwrap();
    let failure = place.keep.recover(true).unwrap_err();
    assert_eq!(failure.exit, maint_core::status::Exit::Stuck);
    assert_eq!(content(&place), "new");
}
