//! `services`: those that others need come first, and are told as what the others suffer from.

use std::fs;

use testbed::{Nginx, Output, Redis, RedisVersion, records, run, tool};

use super::is_told_late;

/// `/shop` asks `/stock`, which lets 100 requests a second through and refuses the others.
fn nginx() -> Nginx {
    let zone = "limit_req_zone $server_port zone=stock:1m rate=100r/s;";
    let server = "location = /stock { limit_req zone=stock burst=5 nodelay; limit_req_status 503; try_files /none @page; }\n\
        location = /shop { proxy_pass http://127.0.0.1:$server_port/stock; }\nlocation @page { return 200; }";
    Nginx::builder().workers(1).plain_with(zone, server).start().unwrap()
}

fn services(text: &str, args: &[&str]) -> Output {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("services.toml");
    fs::write(&file, text).unwrap();
    run(tool("bench-runner", state.path()).unwrap().args(["-o", "ndjson", "services"]).arg(&file).args(args)).unwrap()
}

#[test]
fn each_is_told_alone_and_together_and_what_it_needs_is_named() {
    let (nginx, redis) = (nginx(), Redis::start(RedisVersion::V7_0).unwrap());
    let base = format!("http://127.0.0.1:{}", nginx.http_port());
    let text = |rate: u32, limit: &str| {
        format!(
            "duration = \"2s\"\n\
             [[service]]\nname = \"shop\"\nurl = \"{base}/shop\"\nrate = 20\nneeds = [\"stock\"]\nthresholds = [\"{limit}\"]\n\
             [[service]]\nname = \"stock\"\nurl = \"{base}/stock\"\nrate = {rate}\n\
             [[service]]\nname = \"cache\"\nurl = \"{}\"\nworkload = \"ping\"\nrate = 50\n",
            redis.url()
        )
    };
    // Stock is asked for more than goes; the shop could not be well in any case.
    let output = services(&text(150, "p(50)<1us"), &[]);
    assert_eq!(output.code, 2, "{output}");
    let all = records(&output.stdout).unwrap();
    let of = |subject: &str| {
        let found = all.iter().find(|record| record["subject"] == subject);
        found.unwrap_or_else(|| panic!("{subject}: {output}"))["data"].clone()
    };
    for alone in ["shop, alone", "cache, alone", "cache, together"] {
        let data = of(alone);
        assert!(data["status"] == "ok" || is_told_late(&data), "{alone}: {output}");
    }
    let position = |subject: &str| all.iter().position(|record| record["subject"] == subject);
    assert!(position("stock, alone") < position("shop, alone"), "{output}");
    let blamed = all.iter().any(|record| {
        record["data"]["message"].as_str().is_some_and(|said| said.contains("what it needs") && said.contains("stock"))
    });
    assert!(blamed, "{output}");
    assert!(of("cache, side by side")["message"].as_str().unwrap().contains("alone"), "{output}");
    // As long as everybody is asked for what goes, nobody is blamed.
    let output = services(&text(50, "error_rate<5%"), &[]);
    assert!(output.code == 0 || (output.code == 3 && output.stdout.contains("invalid: the generator")), "{output}");
    assert!(!output.stdout.contains("what it needs"), "{output}");
    let output = services(&text(50, "error_rate<5%"), &["--dry-run"]);
    assert_eq!((output.code, output.stdout.matches("planned").count() >= 3), (0, true), "{output}");
}

#[test]
fn a_file_that_does_not_hold_sends_nothing() {
    for (text, said) in [
        ("", "no [[service]]"),
        ("[[service]]\nname = \"a\"\n", "url"),
        ("[[service]]\nname = \"a\"\nurl = \"http://192.0.2.1/\"\nrate = 1\n", "--allow-host"),
    ] {
        let output = services(text, &[]);
        assert_eq!(output.code, 3, "{text}: {output}");
        assert!(output.stderr.contains(said), "{text}: {output}");
    }
}
