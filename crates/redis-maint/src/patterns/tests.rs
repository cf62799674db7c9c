use std::fmt::Write;

use super::*;
use crate::entry::KeyType;

fn learn<K: AsRef<[u8]>>(limit: usize, keys: impl IntoIterator<Item = K>) -> Learned {
    let mut patterns = Patterns::new(limit);
    for key in keys {
        patterns.add(key.as_ref(), &Sample { bytes: Some(100), ..Sample::default() });
    }
    patterns.finish()
}

/// Name, glob and number of keys of each group, by name.
fn found(learned: &Learned) -> Vec<(&str, String, u64)> {
    let text = |group: &Group| String::from_utf8_lossy(&group.glob).into_owned();
    let mut all: Vec<_> =
        learned.groups.iter().map(|group| (group.name.as_str(), text(group), group.stats.keys)).collect();
    all.sort_unstable();
    all
}

fn uuid(i: u64) -> String {
    let bits =
        u128::from(crate::sketch::hash(&i.to_le_bytes())) << 64 | u128::from(crate::sketch::hash(&i.to_be_bytes()));
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A keyspace such as services have: some families of names, shuffled.
fn keyspace(keys: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..keys).map(|i| {
        let random = crate::sketch::hash(&(i ^ 0xABCD).to_le_bytes());
        let text = match random % 16 {
            0..4 => format!("session:{}", uuid(i)),
            4..6 => format!("rate:10.{}.{}.{}:{}", random >> 8 & 255, random >> 16 & 255, random >> 24 & 255, i % 60),
            6..8 => format!("cache:user:{i}:{}", ["profile", "rights", "mail"][i as usize % 3]),
            8..10 => format!("blacklist:{:016x}", crate::sketch::hash(&i.to_le_bytes())),
            10..12 => format!("name:person{}:cart", random % 5000),
            12 => format!("visits:2026-{:02}-{:02}", random >> 8 & 7 | 1, random >> 16 & 15 | 1),
            13 => format!("queue:jobs:{}", i % 50),
            14 => return [b"bin:\xff\x00".as_slice(), &random.to_le_bytes()].concat(),
            _ => format!("junk{random:x}x"),
        };
        text.into_bytes()
    })
}

#[test]
fn the_families_of_a_keyspace_are_found_without_being_named() {
    let learned = learn(10_000, keyspace(200_000));
    let all = found(&learned);
    let names: Vec<_> = all.iter().map(|(name, glob, _)| (*name, glob.as_str())).collect();
    assert_eq!(
        names,
        [
            ("bin:{binary}", "bin:*"),
            ("blacklist:{hex}", "blacklist:*"),
            ("cache:user:{int}:mail", "cache:user:*:mail"),
            ("cache:user:{int}:profile", "cache:user:*:profile"),
            ("cache:user:{int}:rights", "cache:user:*:rights"),
            ("name:*:cart", "name:*:cart"),
            ("queue:jobs:{int}", "queue:jobs:*"),
            ("rate:{ip}:{int}", "rate:*:*"),
            ("session:{uuid}", "session:*"),
            ("visits:{date}", "visits:*"),
            ("{base64}", "*"),
        ]
    );
    assert_eq!(all.iter().map(|(.., keys)| keys).sum::<u64>(), 200_000);
    assert_eq!(learned.other.keys, 0);
    assert!(learned.groups.is_sorted_by_key(|group| std::cmp::Reverse(group.stats.bytes)));
}

#[test]
fn the_order_of_the_keys_does_not_change_the_groups() {
    let mut keys: Vec<_> = keyspace(50_000).collect();
    let forward = learn(10_000, &keys);
    keys.sort_unstable();
    let sorted = learn(10_000, &keys);
    keys.reverse();
    let backward = learn(10_000, &keys);
    assert_eq!(found(&forward), found(&sorted));
    assert_eq!(found(&forward), found(&backward));
}

#[test]
fn every_key_is_matched_by_the_glob_of_its_group() {
    let mut keys: Vec<Vec<u8>> = keyspace(20_000).collect();
    keys.extend([b"od*d[x]?\\:1".to_vec(), b"od*d[x]?\\:2".to_vec(), b"".to_vec(), b":::".to_vec()]);
    let learned = learn(10_000, &keys);
    let globs: Vec<_> = learned.groups.iter().map(|group| (Glob::new(&group.glob), group.stats.keys)).collect();
    for key in &keys {
        assert!(globs.iter().any(|(glob, _)| glob.matches(key)), "{}", crate::key::subject(key));
    }
    for (glob, count) in globs {
        let matched = keys.iter().filter(|key| glob.matches(key)).count() as u64;
        assert!(matched >= count);
    }
    assert!(found(&learned).contains(&("od*d[x]?\\:{int}", "od\\*d\\[x]\\?\\\\:*".to_owned(), 2)));
}

#[test]
fn words_that_many_keys_share_survive_among_many_that_none_share() {
    let keys = (0..10_000).map(|i| match i % 4 {
        0 => format!("conf:{}", ["smtp", "ldap"][i / 4 % 2]),
        _ => format!("conf:user{i}x"),
    });
    let learned = learn(1000, keys);
    let names: Vec<_> = found(&learned).into_iter().map(|(name, ..)| name).collect();
    assert!(names.contains(&"conf:smtp") && names.contains(&"conf:ldap"), "{names:?}");
    assert!(names.contains(&"conf:*") && names.len() == 3, "{names:?}");
}

#[test]
fn a_few_words_are_kept_and_more_than_64_are_not() {
    let names = |count: u64| {
        let learned = learn(1000, (0..count * 20).map(|i| format!("shop{}x:cart", i % count)));
        found(&learned).len()
    };
    assert_eq!(names(64), 64);
    assert_eq!(names(65), 1);
    assert_eq!(names(1000), 1);
}

#[test]
fn words_that_occur_once_each_are_one_group() {
    let letters = "abcdefghijklmnop";
    let learned = learn(1000, letters.chars().map(|letter| format!("flag:{letter}")));
    assert_eq!(found(&learned), [("flag:*", "flag:*".to_owned(), 16)]);
    let learned = learn(1000, ["flag:a", "flag:b", "flag:c"]);
    assert_eq!(found(&learned).len(), 3, "three are no pattern");
}

#[test]
fn nodes_are_bounded_and_no_key_is_lost() {
    let mut patterns = Patterns::new(500);
    let mut random = 1_u64;
    for i in 0..300_000 {
        // Many words at places of all depths, and four places with so few words that each of them is kept.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut key = format!("{}:", if i % 2 == 0 { "deep" } else { "flat" });
        let (levels, words) = if i % 2 == 0 { (random >> 60, 60) } else { (4, 9) };
        for level in 0..levels {
            let _ = write!(key, "w{:x}z:", (random >> (level * 4)) % words);
        }
        patterns.add(key.as_bytes(), &Sample { bytes: Some(1), ..Sample::default() });
    }
    assert!(patterns.nodes.len() <= 500);
    let learned = patterns.finish();
    assert!(learned.groups.len() <= 500);
    let kept: u64 = learned.groups.iter().map(|group| group.stats.keys).sum();
    assert_eq!(kept + learned.other.keys, 300_000);
    assert!(learned.other.name_bytes > 0, "this keyspace is meant to overflow");
}

#[test]
fn deep_and_long_names_end_in_a_star() {
    let deep = "a:".repeat(100);
    let long = format!("x:{}", "wörter".repeat(50));
    let learned = learn(100, [deep, long]);
    let all = found(&learned);
    assert_eq!(all[0].0, format!("{}*", "a:".repeat(DEPTH)));
    assert_eq!(all[1].0, "x:*");
}

#[test]
fn the_stats_of_a_group_are_those_of_its_keys() {
    let mut patterns = Patterns::new(100);
    for i in 0..1000_u64 {
        let ttl = if i % 10 == 0 { Ttl::Never } else { Ttl::Seconds(i) };
        let sample = Sample {
            kind: Some(&KeyType::Hash),
            encoding: Some("listpack"),
            bytes: Some(i),
            length: Some(3),
            ttl: Some(ttl),
        };
        patterns.add(format!("user{i}x:data").as_bytes(), &sample);
    }
    let learned = patterns.finish();
    assert_eq!(learned.groups.len(), 1);
    let stats = &learned.groups[0].stats;
    assert_eq!((stats.keys, stats.bytes, stats.ttl.never_keys, stats.ttl.limited_keys), (1000, 499_500, 100, 900));
    assert_eq!((stats.ttl.min_seconds, stats.ttl.max_seconds), (Some(1), Some(999)));
    assert_eq!(stats.biggest.as_ref().map(|(key, bytes)| (&key[..], *bytes)), Some((&b"user999x:data"[..], 999)));
    assert_eq!(stats.kinds.len(), 1);
    assert_eq!((stats.kinds[0].keys, stats.kinds[0].measured_length), (1000, 3000));
}

/// Run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "prints a time"]
fn a_million_keys_take_less_than_a_second() {
    let keys: Vec<_> = keyspace(1_000_000).collect();
    let kind = KeyType::String;
    let sample = Sample {
        kind: Some(&kind),
        encoding: Some("raw"),
        bytes: Some(100),
        length: Some(10),
        ttl: Some(Ttl::Seconds(9)),
    };
    let started = std::time::Instant::now();
    let mut patterns = Patterns::new(10_000);
    for key in &keys {
        patterns.add(key, &sample);
    }
    let added = started.elapsed();
    let learned = patterns.finish();
    println!("{added:?} to add, {:?} in all, {} groups", started.elapsed(), learned.groups.len());
    assert!(started.elapsed() < std::time::Duration::from_secs(1));
}
