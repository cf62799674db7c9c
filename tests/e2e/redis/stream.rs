//! `keys`: every key once, whatever its name and whatever happens to the table or the run meanwhile.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use testbed::{RedisVersion, Signal, run, start, wait_until};

use super::{Keys, PATIENCE, Place, Told, names, set_all};

/// Names that text formats, globs, terminals and escapes stumble over, and bytes that no text holds.
fn strange_names() -> Keys {
    let mut names: Keys = (0..=255u8).flat_map(|byte| [vec![byte], vec![b'x', byte, b'%', byte]]).collect();
    let fixed: [&[u8]; 16] = [
        b"",
        b"%",
        b"%41",
        b"100%25",
        b"a\nb",
        b"a\r\nb",
        b"a\x00b",
        b"\"quoted\" 'twice' \\",
        b"*",
        b"cache:[a-z]?*",
        b"{tag}:1",
        b" leading and trailing ",
        b"\xff\xfe\xc3\x28",
        b"\xf0\x9f\x94",
        "schl\u{fc}ssel:\u{1f511}".as_bytes(),
        b"{\"specversion\":\"1.0\"}",
    ];
    names.extend(fixed.map(<[u8]>::to_vec));
    names
}

#[test]
fn every_key_comes_exactly_once_whatever_its_name() {
    for version in RedisVersion::ALL {
        let place = Place::new(version);
        let mut wanted = names("user:", 0..10_000);
        wanted.extend(strange_names());
        set_all(&mut place.connect(), &wanted, "v");
        let told = place.run(&["keys"]).ends_with(0);
        let listed = told.listed();
        assert_eq!(listed.len(), wanted.len(), "{version}");
        assert_eq!(listed.into_iter().collect::<Keys>(), wanted, "{version}");
    }
}

#[test]
fn a_hundred_thousand_keys_come_exactly_once() {
    let place = Place::new(RedisVersion::V7_0);
    let wanted = names("k:", 0..100_000);
    set_all(&mut place.connect(), &wanted, "v");
    let listed = place.run(&["keys", "--names"]).ends_with(0).listed();
    assert_eq!(listed.len(), wanted.len());
    assert_eq!(listed.into_iter().collect::<Keys>(), wanted);
}

#[test]
fn a_glob_and_a_database_narrow_the_stream() {
    let place = Place::new(RedisVersion::V8_2);
    let mut client = place.connect();
    set_all(&mut client, &names("a:", 0..300), "v");
    set_all(&mut client, &names("b:", 0..300), "v");
    client.call(&["SELECT", "3"]).unwrap();
    set_all(&mut client, &names("c:", 0..200), "v");
    let listed =
        |args: &[&str]| -> Keys { place.run(&[&["keys"], args].concat()).ends_with(0).listed().into_iter().collect() };
    assert_eq!(listed(&["--match", "a:*"]), names("a:", 0..300));
    let mut all = names("a:", 0..300);
    all.extend(names("b:", 0..300));
    assert_eq!(listed(&[]), all);
    all.extend(names("c:", 0..200));
    assert_eq!(listed(&["--all-dbs"]), all);
    let url = format!("redis://127.0.0.1:{}/3", place.server.port());
    let third: Keys = place.run_at(&url, &["keys"]).listed().into_iter().collect();
    assert_eq!(third, names("c:", 0..200));
}

#[test]
fn keys_that_stay_come_exactly_once_while_the_table_grows_and_shrinks() {
    super::at_once(&RedisVersion::ALL, |version| {
        let place = Place::new(version);
        let wanted = names("stay:", 0..8_000);
        set_all(&mut place.connect(), &wanted, "v");
        let (_proxy, url) = place.slowly(Duration::from_millis(10));
        let (done, mut client) = (AtomicBool::new(false), place.connect());
        let told = thread::scope(|scope| {
            scope.spawn(|| {
                // Twice as many keys and none of them again, so that the table doubles and halves.
                let others: Vec<String> = (0..16_000).map(|number| format!("come-and-go:{number}")).collect();
                while !done.load(Ordering::SeqCst) {
                    client.pipeline(others.iter().map(|key| ["SET", key, "v"]), drop).unwrap();
                    client.pipeline(others.iter().map(|key| ["DEL", key]), drop).unwrap();
                }
            });
            // However busy the server is: this is not about the walk's manners.
            let args = ["keys", "--names", "--max-latency", "1s"];
            let told = Told::of(run(&mut place.tool_at(&url, &args)).unwrap());
            done.store(true, Ordering::SeqCst);
            told
        })
        .ends_with(0);
        let stayed: Vec<_> = told.listed().into_iter().filter(|key| key.starts_with(b"stay:")).collect();
        assert_eq!(stayed.len(), wanted.len(), "{version}");
        assert_eq!(stayed.into_iter().collect::<Keys>(), wanted, "{version}");
    });
}

#[test]
fn a_walk_that_was_killed_goes_on_where_it_was_and_misses_nothing() {
    let place = Place::new(RedisVersion::V7_0);
    let wanted = names("k:", 0..30_000);
    set_all(&mut place.connect(), &wanted, "v");
    let (proxy, url) = place.slowly(Duration::from_millis(30));
    let file = place.dir().join("position");
    let args = ["keys", "--resume", file.to_str().unwrap()];
    let first = place.start_at(&url, &args);
    wait_until("a position is kept", PATIENCE, || file.exists()).unwrap();
    first.signal(Signal::KILL);
    let first = Told::of_cut(first.finish(PATIENCE).unwrap()).ends_with(137);
    proxy.set_delay(Duration::ZERO);
    let second = place.run_at(&url, &args).ends_with(0);
    let mut all: Keys = first.listed().into_iter().collect();
    assert!(all.len() < wanted.len(), "it was done before it was killed");
    assert!(second.listed().len() < wanted.len(), "it began anew");
    all.extend(second.listed());
    assert_eq!(all, wanted);
    // What is done leaves no position: the next run is a whole one.
    assert!(!file.exists());
    assert_eq!(place.run_at(&url, &args).listed().len(), wanted.len());
}

#[test]
fn a_position_in_another_run_of_the_server_is_not_used() {
    let place = Place::of(testbed::Redis::builder(RedisVersion::V8_2).config("appendonly", "yes").start().unwrap());
    let wanted = names("k:", 0..30_000);
    set_all(&mut place.connect(), &wanted, "v");
    let (proxy, url) = place.slowly(Duration::from_millis(30));
    let file = place.dir().join("position");
    let args = ["keys", "--names", "--resume", file.to_str().unwrap()];
    let first = place.start_at(&url, &args);
    wait_until("a position is kept", PATIENCE, || file.exists()).unwrap();
    first.signal(Signal::KILL);
    first.finish(PATIENCE).unwrap();
    place.server.restart().unwrap();
    proxy.set_delay(Duration::ZERO);
    let second: Keys = place.run_at(&url, &args).ends_with(0).listed().into_iter().collect();
    assert_eq!(second, wanted);
}

#[test]
fn a_file_that_holds_no_position_is_refused() {
    let place = Place::new(RedisVersion::V7_0);
    let file = place.dir().join("position");
    fs::write(&file, "{").unwrap();
    let told = place.run(&["keys", "--resume", file.to_str().unwrap()]).ends_with(3);
    assert!(told.out.stderr.contains("does not hold the position"), "{}", told.out);
}

#[test]
fn a_reader_that_leaves_early_ends_the_walk_quietly() {
    let place = Place::new(RedisVersion::Valkey9);
    set_all(&mut place.connect(), &names("k:", 0..20_000), "v");
    let (_proxy, url) = place.slowly(Duration::from_millis(50));
    let program = place.tool_at(&url, &["keys", "--with", "type"]);
    let mut shell = Command::new("bash");
    shell.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?)))).current_dir(place.dir());
    let script = "\"$0\" \"$@\" | head -1; echo \"code ${PIPESTATUS[0]}\"";
    shell.args(["-c", script]).arg(program.get_program()).args(program.get_args()).stdin(Stdio::null());
    let out = run(&mut shell).unwrap();
    assert!(out.stdout.ends_with("\ncode 0\n") && out.stderr.is_empty(), "{out}");
    // What was written and not read yet fills a pipe and some buffers; after that nothing more is asked.
    let stats = place.server.info("commandstats").unwrap();
    let asked = stats["cmdstat_type"].split([',', '=']).nth(1).unwrap().parse::<u32>().unwrap();
    assert!(asked < 10_000, "{asked} of 20,000 keys were asked for");
}

#[test]
fn an_interrupted_walk_says_so() {
    let place = Place::new(RedisVersion::V7_0);
    set_all(&mut place.connect(), &names("k:", 0..20_000), "v");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (_proxy, url) = place.slowly(Duration::from_millis(40));
        let running = start(&mut place.tool_at(&url, &["keys"])).unwrap();
        let scans = || place.server.info("commandstats").unwrap().contains_key("cmdstat_scan");
        place.server.call(&["CONFIG", "RESETSTAT"]).unwrap();
        wait_until("the walk is under way", PATIENCE, scans).unwrap();
        running.signal(signal);
        let told = Told::of(running.finish(PATIENCE).unwrap()).ends_with(code);
        assert_eq!(told.summary()["exit_code"], code);
        assert!(told.listed().len() < 20_000);
    }
}
