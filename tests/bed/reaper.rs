//! A server does not outlive its starter.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use testbed::{Postgres, Redis, RedisVersion, wait_until};

const FILE: &str = "TESTBED_REAPER_FILE";
const KIND: &str = "TESTBED_REAPER_KIND";

/// Not a test: the program that the next one kills.
#[test]
#[ignore = "started by a_killed_starter_leaves_no_server_and_no_directory"]
fn starter_to_be_killed() {
    let Some(file) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let kind = std::env::var(KIND).unwrap();
    let text = if kind == "redis" {
        let server = Redis::start(RedisVersion::V7_0).unwrap();
        // A child that saves slowly is to go with it.
        server.call(&["CONFIG", "SET", "rdb-key-save-delay", "10000000"]).unwrap();
        server.call(&["SET", "k", "v"]).unwrap();
        server.call(&["BGSAVE"]).unwrap();
        server.freeze().unwrap();
        let text = format!("{}\n{}\n", server.pid().unwrap(), server.dir().display());
        std::mem::forget(server);
        text
    } else {
        let server = Postgres::builder(15).start().unwrap();
        if kind == "frozen" {
            server.sigstop().unwrap();
        }
        let text = format!("{}\n{}\n", server.pid().unwrap(), server.dir().display());
        std::mem::forget(server);
        text
    };
    std::fs::write(file.with_extension("new"), text).unwrap();
    std::fs::rename(file.with_extension("new"), file).unwrap();
    loop {
        std::thread::park();
    }
}

fn killed_starter_leaves_nothing(kind: &str) {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("started");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "reaper::starter_to_be_killed", "--ignored"]).env(FILE, &file).env(KIND, kind);
    let mut starter = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the starter has a server", Duration::from_mins(1), || file.exists()).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let (pid, dir) = text.trim().split_once('\n').unwrap();
    let process = Path::new("/proc").join(pid).join("cwd");
    assert!(process.read_link().is_ok(), "the server runs");
    starter.kill().unwrap();
    starter.wait().unwrap();
    // A zombie nobody reaps has no working directory any more.
    wait_until("the server is gone", Duration::from_secs(30), || process.read_link().is_err()).unwrap();
    wait_until("the directory is gone", Duration::from_secs(30), || !Path::new(dir).exists()).unwrap();
}

#[test]
fn a_killed_starter_leaves_no_server_and_no_directory() {
    killed_starter_leaves_nothing("postgres");
}

#[test]
fn a_killed_starter_leaves_no_frozen_server_either() {
    killed_starter_leaves_nothing("frozen");
}

#[test]
fn a_killed_starter_leaves_no_frozen_redis_that_was_saving() {
    killed_starter_leaves_nothing("redis");
}

#[test]
fn a_dropped_server_is_gone_when_drop_returns() {
    let server = Postgres::builder(15).start().unwrap();
    let dir = server.dir().to_path_buf();
    let process = format!("/proc/{}", server.pid().unwrap());
    assert!(dir.exists() && Path::new(&process).exists());
    drop(server);
    assert!(!dir.exists());
    assert!(!Path::new(&process).exists());
}
