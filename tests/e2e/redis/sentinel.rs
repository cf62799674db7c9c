//! A primary that sentinels know, and the loss of it in the middle.

use testbed::{RedisVersion, Sentinels, run, start, wait_until};

use super::{Keys, PATIENCE, Told, keys_of, maint, names, set_all};

fn url(group: &Sentinels) -> String {
    let hosts: Vec<String> = group.sentinels().iter().map(|one| format!("127.0.0.1:{}", one.port())).collect();
    format!("redis://{}/0", hosts.join(","))
}

#[test]
fn the_primary_is_found_and_its_loss_in_the_middle_of_a_cleanup_takes_nothing_wrong() {
    let group = Sentinels::start(RedisVersion::V7_0).unwrap();
    let state = tempfile::tempdir().unwrap();
    let run_with = |args: &[&str]| {
        let args = [&["--sentinel", group.master_name()], args].concat();
        Told::of(run(&mut maint(state.path(), &url(&group), &args)).unwrap())
    };
    let primary = group.primary().unwrap();
    let (cache, user) = (names("cache:", 0..8000), names("user:", 0..8100));
    set_all(&mut primary.connect().unwrap(), &cache, "old");
    set_all(&mut primary.connect().unwrap(), &user, "v");
    assert_eq!(run_with(&["keys", "--match", "user:*", "--names"]).ends_with(0).listed().len(), 8100);
    let unknown = maint(state.path(), &url(&group), &["keys", "--sentinel", "nobody"]);
    let unknown = Told::of(run(&mut { unknown }).unwrap()).ends_with(3);
    assert!(unknown.out.stderr.contains("nobody"), "{}", unknown.out);

    let path = state.path().join("policy.toml");
    std::fs::write(&path, "[[rule]]\nmatch = \"cache:*\"\n").unwrap();
    let policy = path.to_str().unwrap();
    let args = ["--sentinel", group.master_name(), "cache-cleanup", "--policy", policy, "--max-latency", "1us"];
    let running = start(&mut maint(state.path(), &url(&group), &args)).unwrap();
    wait_until("keys are deleted", PATIENCE, || primary.dbsize().unwrap() < 16_100).unwrap();
    // A value of now, on a key that is still to come if it is still there, and known to the replica too.
    let mut client = primary.connect().unwrap();
    let marked: Keys = keys_of(primary).into_iter().filter(|key| key.starts_with(b"cache:")).take(200).collect();
    set_all(&mut client, &marked, "new");
    assert_eq!(client.call(&["WAIT", "1", "20000"]).unwrap().int(), Some(1));
    assert!(primary.dbsize().unwrap() > 8500, "it was done before the primary was lost");
    group.kill_primary().unwrap();
    let told = Told::of(running.finish(PATIENCE).unwrap());
    assert!(told.code() <= 1, "{}", told.short());
    let new = group.primary().unwrap();
    assert_ne!(new.port(), primary.port());
    let there = keys_of(new);
    assert!(there.is_superset(&user), "{}", told.short());
    let mut lost = 0;
    let get = marked.iter().map(|key| [&b"GET"[..], key]);
    new.connect().unwrap().pipeline(get, |reply| lost += usize::from(reply.text() != "new")).unwrap();
    assert_eq!(lost, 0, "{}", told.short());
    let steps = ["ok", "gone", "skipped"].map(|status| told.steps(status).len());
    assert_eq!(steps.iter().sum::<usize>(), 8000, "{}", told.short());
    // What the lost primary had deleted and not passed on is there again, and the next run takes it.
    run_with(&["cache-cleanup", "--policy", policy]);
    assert_eq!(keys_of(new), user);
}
