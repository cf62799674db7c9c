//! Redis servers do as they are told, whichever version they are.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use testbed::redis::workload;
use testbed::{DelayingProxy, Error, Redis, RedisCluster, RedisVersion, Reply, Sentinels, wait_until};

#[test]
fn each_version_starts_says_which_it_is_and_stops() {
    for version in RedisVersion::ALL {
        let begin = Instant::now();
        let server = Redis::start(version).unwrap();
        let info = server.info("server").unwrap();
        assert_eq!(info.get(version.field()).map(String::as_str), Some(version.number()), "{version}");
        assert_eq!(info["process_id"], server.pid().unwrap().to_string());
        assert_eq!(info["tcp_port"], server.port().to_string());
        // Sleep of zero: the mildest proof that DEBUG is allowed.
        server.call(&["DEBUG", "SLEEP", "0"]).unwrap();
        assert_eq!(server.cli(&["SET", "k", "v"]).unwrap(), "OK");
        assert_eq!(server.call(&["GET", "k"]).unwrap(), Reply::Bulk(b"v".to_vec()));
        server.stop().unwrap();
        assert!(matches!(server.stop(), Err(Error::NotRunning { server }) if server == version.to_string()));
        assert!(begin.elapsed() < Duration::from_mins(5));
    }
}

#[test]
fn data_survives_a_restart_on_the_same_port_when_it_was_saved() {
    let server = Redis::start(RedisVersion::V7_0).unwrap();
    let port = server.port();
    server.call(&["SET", "kept", "1"]).unwrap();
    server.call(&["SAVE"]).unwrap();
    assert!(server.dir().join("dump.rdb").is_file());
    server.call(&["SET", "lost", "1"]).unwrap();
    server.kill9().unwrap();
    assert!(server.call(&["PING"]).is_err());
    server.start_again().unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(server.call(&["KEYS", "*"]).unwrap().text(), "kept");
    let before = server.pid();
    server.restart().unwrap();
    assert_ne!(server.pid(), before);
}

#[test]
fn keys_and_values_of_any_bytes_pass() {
    let server = Redis::start(RedisVersion::V7_0).unwrap();
    let key = b"bin:\xff\x00\x01\n\r\n*[?";
    let all: Vec<u8> = (0..=255).collect();
    server.call(&[&b"SET"[..], key, &all]).unwrap();
    assert_eq!(server.call(&[&b"GET"[..], key]).unwrap(), Reply::Bulk(all));
    assert_eq!(server.call(&["KEYS", "*"]).unwrap(), Reply::Array(vec![Reply::Bulk(key.to_vec())]));
    assert_eq!(server.call(&["GET", "none"]).unwrap(), Reply::Nil);
}

#[test]
fn an_error_reply_is_told_with_its_command() {
    let server = Redis::start(RedisVersion::V7_0).unwrap();
    let e = server.call(&["CONFIG", "SET", "no-such", "1"]).unwrap_err();
    assert!(e.to_string().starts_with("CONFIG SET was refused: ERR "), "{e}");
    assert!(server.cli(&["NOSUCH"]).is_err());
    let e = server.pipeline([["SET", "a", "1"], ["LPUSH", "a", "1"]]).unwrap_err();
    assert!(e.to_string().starts_with("command 2 of a pipeline was refused: WRONGTYPE"), "{e}");
}

#[test]
fn a_pipeline_counts_and_shows_every_reply_in_order() {
    let server = Redis::start(RedisVersion::V7_0).unwrap();
    let mut seen = Vec::new();
    let n = server.connect().unwrap().pipeline((0..100_000).map(|_| ["INCR", "n"]), |r| seen.extend(r.int())).unwrap();
    assert_eq!(n, 100_000);
    assert!(seen.iter().copied().eq(1..=100_000));
}

#[test]
fn a_password_is_asked_for_and_the_bed_gives_it() {
    let server = Redis::builder(RedisVersion::V7_0)
        .password("s3cret")
        .config("user", "reader on >pw ~* +@read")
        .config("maxmemory", "100mb")
        .start()
        .unwrap();
    assert_eq!(server.cli(&["PING"]).unwrap(), "PONG");
    assert_eq!(server.call(&["CONFIG", "GET", "maxmemory"]).unwrap().text(), "maxmemory\n104857600");
    assert!(server.cli(&["--user", "reader", "-a", "pw", "SET", "k", "v"]).is_err());
    assert_eq!(server.url(), format!("redis://:s3cret@127.0.0.1:{}/0", server.port()));
    let replica = Redis::builder(RedisVersion::V7_0).start().unwrap();
    server.call(&["SET", "k", "v"]).unwrap();
    replica.replica_of(&server).unwrap();
    assert_eq!(replica.call(&["GET", "k"]).unwrap().text(), "v");
}

#[test]
fn tls_is_served_with_a_certificate_that_its_authority_vouches_for() {
    let server = Redis::builder(RedisVersion::V7_0).tls().start().unwrap();
    assert_eq!(server.cli_tls(&["SET", "k", "v"]).unwrap(), "OK");
    assert_eq!(server.call(&["GET", "k"]).unwrap().text(), "v");
    let tls = server.tls().unwrap();
    assert_eq!(tls.url(), format!("rediss://localhost:{}/0", tls.port));
    // Without the authority the handshake fails.
    let port = tls.port.to_string();
    assert!(server.cli(&["-h", "localhost", "-p", &port, "--tls", "PING"]).is_err());
}

#[test]
fn a_frozen_server_takes_connections_and_answers_after_the_thaw() {
    let server = Redis::start(RedisVersion::V7_0).unwrap();
    let mut client = server.connect().unwrap();
    server.freeze().unwrap();
    std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    server.thaw();
    assert_eq!(client.call(&["PING"]).unwrap().text(), "PONG");
    server.freeze().unwrap();
    let (dir, process) = (server.dir().to_path_buf(), format!("/proc/{}", server.pid().unwrap()));
    drop(server);
    assert!(!dir.exists());
    assert!(!Path::new(&process).exists());
}

fn cluster_serves_every_slot_and_hands_them_over(version: RedisVersion) {
    let cluster = RedisCluster::start(version, 3, 1).unwrap();
    assert_eq!((cluster.nodes().len(), cluster.urls().len()), (6, 6));
    // The slot of "foo" is 12182, as the specification's CRC16 has it: the third primary's.
    let owner = cluster.owner(12_182).unwrap();
    assert_eq!(owner.port(), cluster.nodes()[2].port(), "{version}");
    owner.call(&["SET", "foo", "bar"]).unwrap();
    assert!(cluster.nodes()[0].call(&["GET", "foo"]).unwrap_err().to_string().contains("MOVED 12182"));
    assert_eq!(cluster.nodes()[0].cli(&["-c", "GET", "foo"]).unwrap(), "bar");
    cluster.failover(5).unwrap();
    assert_eq!(cluster.owner(12_182).unwrap().port(), cluster.nodes()[5].port(), "{version}");
    assert_eq!(cluster.nodes()[5].call(&["GET", "foo"]).unwrap().text(), "bar");
}

#[test]
fn a_cluster_of_any_version_serves_every_slot_and_hands_them_over() {
    // All at once: they mostly wait for each other's gossip.
    std::thread::scope(|scope| {
        for version in RedisVersion::ALL {
            scope.spawn(move || cluster_serves_every_slot_and_hands_them_over(version));
        }
    });
}

#[test]
fn sentinels_make_the_replica_the_primary_when_told() {
    let group = Sentinels::start(RedisVersion::V7_0).unwrap();
    let [first, second] = group.servers();
    assert_eq!(group.primary().unwrap().port(), first.port());
    assert!(group.sentinel_url().ends_with(&format!("/{}/0", group.master_name())), "{}", group.sentinel_url());
    group.fail_over().unwrap();
    assert_eq!(group.primary().unwrap().port(), second.port());
    second.call(&["SET", "k", "v"]).unwrap();
}

#[test]
fn sentinels_make_the_replica_the_primary_when_the_primary_dies() {
    let group = Sentinels::start(RedisVersion::V6_2).unwrap();
    let [first, second] = group.servers();
    first.call(&["SET", "k", "v"]).unwrap();
    first.call(&["WAIT", "1", "10000"]).unwrap();
    group.kill_primary().unwrap();
    assert_eq!(group.primary().unwrap().port(), second.port());
    assert_eq!(second.call(&["GETDEL", "k"]).unwrap().text(), "v");
}

#[test]
fn a_proxy_delays_replies_and_cuts_connections() {
    let server = Redis::start(RedisVersion::V7_0).unwrap();
    let proxy = DelayingProxy::start(server.port()).unwrap();
    let port = proxy.port().to_string();
    let ping = || server.cli(&["-p", &port, "PING"]);
    assert_eq!(ping().unwrap(), "PONG");
    proxy.set_delay(Duration::from_millis(300));
    let begin = Instant::now();
    assert_eq!(ping().unwrap(), "PONG");
    assert!(begin.elapsed() >= Duration::from_millis(300));
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    client.write_all(b"BLPOP none 0\r\n").unwrap();
    wait_until("the client waits", Duration::from_secs(30), || {
        server.info("clients").unwrap()["blocked_clients"] == "1"
    })
    .unwrap();
    proxy.cut();
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    wait_until("the server lost it too", Duration::from_secs(30), || {
        server.info("clients").unwrap()["blocked_clients"] == "0"
    })
    .unwrap();
    assert_eq!(ping().unwrap(), "PONG");
    drop(proxy);
    wait_until("the port is closed", Duration::from_secs(30), || ping().is_err()).unwrap();
}

#[test]
fn the_workload_is_what_it_says_it_is_on_every_version() {
    for version in RedisVersion::ALL {
        let server = Redis::start(version).unwrap();
        let filled = workload::fill(&server, 5_000, 7).unwrap();
        assert_eq!(filled.keys(), 5_000);
        assert_eq!(server.dbsize().unwrap(), filled.keys(), "{version}");
        // keys=5000,expires=4600,avg_ttl=...
        let keyspace = server.info("keyspace").unwrap()["db0"].clone();
        let expiring = format!(",expires={},", filled.keys() - filled.without_ttl());
        assert!(keyspace.contains(&expiring), "{version}: {keyspace}, not {expiring}");
        let keys = server.call(&["KEYS", "*"]).unwrap();
        let mut client = server.connect().unwrap();
        let mut found: BTreeMap<(&str, String), u64> = BTreeMap::new();
        for key in keys.array() {
            let Reply::Bulk(key) = key else { panic!("{key:?}") };
            let group = filled.groups.iter().find(|g| key.starts_with(g.prefix.as_bytes())).unwrap();
            let kind = client.call(&[b"TYPE", key.as_slice()]).unwrap().text();
            *found.entry((group.prefix, kind)).or_default() += 1;
        }
        let told = filled.groups.iter().map(|g| ((g.prefix, g.kind.to_owned()), g.keys)).collect();
        assert_eq!(found, told, "{version}");
        assert_eq!(filled.types().values().sum::<u64>(), filled.keys());
        let sessions = filled.group("session:").unwrap();
        assert!((5..10).contains(&(sessions.without_ttl * 100 / sessions.keys)), "{sessions:?}");
        assert_eq!(server.call(&["SCARD", "whale:followers"]).unwrap(), Reply::Int(1_500));
    }
}

#[test]
fn one_seed_gives_one_key_space() {
    let digest = |seed| {
        let server = Redis::start(RedisVersion::V7_0).unwrap();
        workload::fill(&server, 2_000, seed).unwrap();
        server.call(&["DEBUG", "DIGEST"]).unwrap()
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

#[test]
#[ignore = "fetches 60 MB on first use"]
fn redis_7_4_has_tls_and_a_redis_cli_with_keystats() {
    let server = Redis::builder(RedisVersion::V7_4).tls().start().unwrap();
    assert_eq!(server.info("server").unwrap()["redis_version"], RedisVersion::V7_4.number());
    assert_eq!(server.cli_tls(&["SET", "largest", "v"]).unwrap(), "OK");
    assert!(server.cli(&["--keystats"]).unwrap().contains("largest"));
    let pid = server.pid().unwrap();
    server.kill9().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}
