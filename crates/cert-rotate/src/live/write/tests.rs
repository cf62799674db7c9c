use super::*;
use crate::key::KeyType;

struct Bench {
    _dir: tempfile::TempDir,
    live: Live,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::at(dir.path().join("certs"));
        Bench { _dir: dir, live }
    }

    fn write(&self, access: &Access) -> Generation {
        let (chain, key) = pair();
        self.live.write("web", &chain, &key, &Meta::staged("inside", Timestamp::now()), access).unwrap()
    }
}

fn pair() -> (Vec<Certificate>, PrivateKey) {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let params = rcgen::CertificateParams::new(vec!["a.example.test".to_owned()]).unwrap();
    let made = params.self_signed(key.pair()).unwrap();
    (vec![Certificate::from_der(made.der()).unwrap()], key)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_written_is_read_and_only_the_key_is_closed() {
    let bench = Bench::new();
    let written = bench.write(&Access { key_mode: 0o640, ..Access::default() });
    assert_eq!(written.number, 1);
    assert!(bench.live.key("web", 1).unwrap().is_of(written.leaf().unwrap()));
    let modes =
        ["cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"].map(|file| mode(&written.directory.join(file)));
    assert_eq!(modes, [0o644, 0o644, 0o644, 0o640]);
    assert_eq!((mode(bench.live.root()), mode(&written.directory)), (0o755, 0o755));
    assert_eq!(bench.live.meta("web", 1).state, State::Staged);
}

#[test]
fn the_link_is_switched_forth_and_back() {
    let bench = Bench::new();
    assert!(bench.live.current("web").unwrap().is_none());
    for _ in 0..2 {
        let written = bench.write(&Access::default());
        bench.live.switch("web", written.number).unwrap();
        assert_eq!(bench.live.current_number("web").unwrap(), Some(written.number));
    }
    bench.live.switch("web", 1).unwrap();
    assert_eq!(bench.live.current("web").unwrap().unwrap().chain, bench.live.generation("web", 1).unwrap().chain);
    let through = std::fs::read(bench.live.link("web").join("cert.pem")).unwrap();
    assert_eq!(through, std::fs::read(bench.live.archive("web").join("1/cert.pem")).unwrap());
    bench.live.unlink("web").unwrap();
    assert!(bench.live.current("web").unwrap().is_none());
}

#[test]
fn nothing_is_switched_to_a_generation_that_is_not_there() {
    let bench = Bench::new();
    let written = bench.write(&Access::default());
    bench.live.switch("web", written.number).unwrap();
    assert!(bench.live.switch("web", 7).is_err());
    assert_eq!(bench.live.current_number("web").unwrap(), Some(1));
}

#[test]
fn a_link_out_of_the_archive_is_refused() {
    let bench = Bench::new();
    make_public(&bench.live.root().join("live")).unwrap();
    symlink("../../elsewhere/3", bench.live.link("web")).unwrap();
    assert!(bench.live.current("web").unwrap_err().message.contains("no generation"));
}

#[test]
fn what_a_killed_run_left_is_swept_and_never_counted() {
    let bench = Bench::new();
    let left = bench.live.archive("web").join(".unfinished-1");
    make_public(&left).unwrap();
    std::fs::write(left.join("cert.pem"), "half").unwrap();
    make_public(&bench.live.root().join("live")).unwrap();
    symlink("nowhere", bench.live.root().join("live/.web.new")).unwrap();
    assert!(bench.live.numbers("web").unwrap().is_empty());
    let written = bench.write(&Access::default());
    assert_eq!(written.number, 1);
    bench.live.switch("web", 1).unwrap();
    assert!(!left.exists());
    let names = entries(&bench.live.root().join("live")).unwrap();
    assert_eq!(names, ["web"]);
}

#[test]
fn old_generations_go_and_the_current_one_and_its_predecessor_stay() {
    let bench = Bench::new();
    for number in 1..=6 {
        bench.write(&Access::default());
        bench.live.mark("web", number, State::Live, None).unwrap();
    }
    let back = Meta { previous: Some(1), ..bench.live.meta("web", 2) };
    bench.live.note("web", 2, &back).unwrap();
    bench.live.switch("web", 2).unwrap();
    assert_eq!(bench.live.prune("web", 2).unwrap(), [3, 4]);
    assert_eq!(bench.live.numbers("web").unwrap(), [1, 2, 5, 6]);
    let numbered = entries(&bench.live.archive("web")).unwrap();
    assert_eq!(numbered.len(), 4, "{numbered:?}");
}

#[test]
fn rejected_ones_do_not_push_out_those_that_were_served() {
    let bench = Bench::new();
    for number in 1..=8 {
        bench.write(&Access::default());
        let state = if number <= 3 { State::Live } else { State::Rejected };
        bench.live.mark("web", number, state, Some("expired")).unwrap();
    }
    bench.live.switch("web", 3).unwrap();
    bench.live.prune("web", 3).unwrap();
    assert_eq!(bench.live.numbers("web").unwrap(), [1, 2, 3, 6, 7, 8]);
    assert_eq!(bench.live.meta("web", 8).reason.as_deref(), Some("expired"));
}

#[test]
fn a_second_run_is_told_to_come_back_later() {
    let bench = Bench::new();
    let held = bench.live.lock().unwrap();
    assert_eq!(bench.live.lock().unwrap_err().exit.code(), 75);
    drop(held);
    bench.live.lock().unwrap();
}
