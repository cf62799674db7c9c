//! The key space of a service that has lived for years: sessions, counters, caches, queues, some names that no text
//! holds, and a few whales.
//!
//! All of it follows from the seed, so two servers filled alike hold the same. The true counts are handed back, for tests
//! that compare what a tool found with what is there. No time to live is shorter than an hour, also where a real service
//! would have a minute: nothing may expire while a test looks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Redis, Resp};
use crate::error::Result;

/// Keys of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What their names begin with, which no other group's do; a whale's whole name.
    pub prefix: &'static str,
    /// Their type, as TYPE tells it.
    pub kind: &'static str,
    /// How many there are.
    pub keys: u64,
    /// How many of them never expire.
    pub without_ttl: u64,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Filled {
    /// The groups, whales last.
    pub groups: Vec<Group>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Filled {
    /// All keys.
    pub fn keys(&self) -> u64 {
        self.groups.iter().map(|g| g.keys).sum()
    }

    /// All keys that never expire.
    pub fn without_ttl(&self) -> u64 {
        self.groups.iter().map(|g| g.without_ttl).sum()
    }

    /// The number of keys of each type.
    pub fn types(&self) -> BTreeMap<&'static str, u64> {
        self.groups.iter().fold(BTreeMap::new(), |mut types, g| {
            *types.entry(g.kind).or_default() += g.keys;
            types
        })
    }

    /// The group with this prefix.
    pub fn group(&self, prefix: &str) -> Option<&Group> {
        self.groups.iter().find(|g| g.prefix == prefix)
    }
}

/// A command, its arguments in order.
type Command = Vec<Vec<u8>>;

/// How the commands that make key number `i` of a group are found, and whether it never expires.
type Make = fn(Dice, &mut Vec<Command>) -> bool;

/// Prefix, type, keys per million, and how to make one. Sessions come first and take what the others leave.
const GROUPS: [(&str, &str, u64, Make); 11] = [
    ("session:", "string", 0, session),
    ("token:blacklist:", "string", 150_000, token),
    ("rate:", "string", 150_000, rate),
    ("cache:user:", "hash", 100_000, user),
    ("cache:page:", "string", 80_000, page),
    ("followers:", "set", 30_000, followers),
    ("leaderboard:", "zset", 200, leaderboard),
    ("queue:", "list", 100, queue),
    ("events:", "stream", 50, events),
    ("active:", "string", 100, active),
    ("bin:", "string", 2_000, binary),
];

/// Members of the set, fields of the hash and bytes of the string that are far larger than all others, per million keys.
const WHALES: (u64, u64, u64) = (300_000, 200_000, 20_000_000);

/// Fills database 0 of `server`, which should be empty, with `keys` keys; fewer than 2000 are taken as that, so that every
/// group has some. A million takes some seven seconds and 400 MB.
pub fn fill(server: &Redis, keys: u64, seed: u64) -> Result<Filled> {
    let begin = Instant::now();
    let keys = keys.max(2000);
    let share = |per_million: u64| (keys * per_million / 1_000_000).max(1);
    let mut client = server.connect()?;
    let mut groups = Vec::new();
    let others: u64 = GROUPS.iter().skip(1).map(|(_, _, n, _)| share(*n)).sum();
    for (number, (prefix, kind, per_million, make)) in (0_u64..).zip(GROUPS) {
        let keys = if per_million == 0 { keys - others - 3 } else { share(per_million) };
        let mut without_ttl = 0;
        let commands = (0..keys).flat_map(|index| {
            let mut commands = Vec::with_capacity(2);
            without_ttl += u64::from(make(Dice { seed: mix(seed ^ mix(number)), index }, &mut commands));
            commands
        });
        client.pipeline(commands, drop)?;
        groups.push(Group { prefix, kind, keys, without_ttl });
    }
    groups.extend(whales(&mut client, keys)?);
    Ok(Filled { groups, elapsed: begin.elapsed() })
}

fn whales(client: &mut Resp, keys: u64) -> Result<[Group; 3]> {
    let share = |per_million: u64| keys * per_million / 1_000_000;
    let (members, fields, bytes) = (share(WHALES.0), share(WHALES.1), share(WHALES.2));
    let add = |command: &str, key: &str, count: u64, part: fn(u64) -> Vec<String>| {
        let start = [command.to_owned(), key.to_owned()];
        (0..count.div_ceil(100))
            .map(|i| {
                start.iter().cloned().chain((i * 100..count.min(i * 100 + 100)).flat_map(part)).collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    client.pipeline(add("SADD", "whale:followers", members, |i| vec![format!("user:{i}")]), drop)?;
    client.pipeline(add("HSET", "whale:catalog", fields, |i| vec![format!("item:{i}"), format!("price={i}")]), drop)?;
    let line = b"some-name,123456.78\n";
    let export = line.repeat(usize::try_from(bytes / line.len() as u64).unwrap_or_default());
    client.call(&[b"SET", &b"whale:export"[..], &export])?;
    let whale = |prefix, kind| Group { prefix, kind, keys: 1, without_ttl: 1 };
    Ok([whale("whale:followers", "set"), whale("whale:catalog", "hash"), whale("whale:export", "string")])
}

/// The chances of one key.
#[derive(Clone, Copy)]
struct Dice {
    seed: u64,
    index: u64,
}

impl Dice {
    /// The `n`th random number of this key. For one `n` all keys of a group have different ones, as [`mix`] is one to one.
    fn number(self, n: u64) -> u64 {
        mix(mix(self.seed ^ n) ^ self.index)
    }

    /// The `n`th random number of this key from `from` and below `to`.
    fn between(self, n: u64, from: u64, to: u64) -> u64 {
        from + self.number(n) % (to - from).max(1)
    }

    /// 32 hexadecimal digits that no other key of the group has.
    fn hex(self) -> String {
        format!("{:016x}{:016x}", self.number(100), self.number(101))
    }

    fn hours(self, from: u64, to: u64) -> u64 {
        self.between(102, from * 3600, to * 3600)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014), which is one
/// to one.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn words<const N: usize>(words: [&str; N]) -> Command {
    words.map(|w| w.as_bytes().to_vec()).to_vec()
}

/// SET, with a time to live in seconds unless that is 0; tells whether it never expires.
fn set(to: &mut Vec<Command>, key: &str, value: &str, ttl: u64) -> bool {
    to.push(if ttl == 0 { words(["SET", key, value]) } else { words(["SET", key, value, "EX", &ttl.to_string()]) });
    ttl == 0
}

fn session(d: Dice, to: &mut Vec<Command>) -> bool {
    let (high, low) = (d.number(100), d.number(101));
    let key = format!(
        "session:{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    );
    let value = format!(
        "{{\"user_id\":{},\"roles\":[\"user\"],\"ip\":\"10.{}.{}.{}\",\"agent\":\"Mozilla/5.0 (X11; Linux x86_64) \
         Firefox/128.0\",\"csrf\":\"{:032x}\",\"created_at\":{}}}",
        d.between(1, 1, 500_000),
        d.between(2, 0, 256),
        d.between(3, 0, 256),
        d.between(4, 1, 255),
        d.number(5),
        d.between(6, 1_750_000_000, 1_760_000_000),
    );
    let ttl = if d.number(7) % 100 < 7 { 0 } else { d.hours(1, 24) };
    set(to, &key, &value, ttl)
}

fn token(d: Dice, to: &mut Vec<Command>) -> bool {
    set(to, &format!("token:blacklist:{}", d.hex()), "1", d.hours(1, 24 * 7))
}

fn rate(d: Dice, to: &mut Vec<Command>) -> bool {
    let [.., a, b, c] = d.index.to_be_bytes();
    let key = format!("rate:10.{a}.{b}.{c}:{}", d.between(1, 29_000_000, 29_000_060));
    set(to, &key, &d.between(2, 1, 120).to_string(), d.hours(1, 2))
}

fn user(d: Dice, to: &mut Vec<Command>) -> bool {
    let key = format!("cache:user:{}", d.index);
    let (name, mail) = (format!("User {}", d.index), format!("user{}@example.org", d.index));
    let seen = d.between(1, 1_750_000_000, 1_760_000_000).to_string();
    let plan = if d.number(2).is_multiple_of(3) { "team" } else { "free" };
    to.push(words(["HSET", &key, "name", &name, "email", &mail, "plan", plan, "seen_at", &seen, "locale", "en"]));
    let kept = d.number(3).is_multiple_of(10);
    if !kept {
        to.push(words(["EXPIRE", &key, &d.hours(1, 48).to_string()]));
    }
    kept
}

fn page(d: Dice, to: &mut Vec<Command>) -> bool {
    let [lines, ..] = d.number(1).to_be_bytes();
    let text = "<p>Lorem ipsum dolor sit amet.</p>\n".repeat(usize::from(lines % 36) + 4);
    set(to, &format!("cache:page:{}", d.index), &text, d.hours(1, 12))
}

/// Adds to a collection; what `part` gives for each of `count` numbers follows the key.
fn collect(to: &mut Vec<Command>, command: &str, key: &str, count: u64, part: impl Fn(u64, &mut Command)) -> bool {
    let mut add = words([command, key]);
    (0..count).for_each(|i| part(i, &mut add));
    to.push(add);
    true
}

/// Half are of integers only, which Redis stores in another way.
fn followers(d: Dice, to: &mut Vec<Command>) -> bool {
    let name = if d.index.is_multiple_of(2) { "" } else { "user:" };
    collect(to, "SADD", &format!("followers:{}", d.index), d.between(1, 1, 40), |i, add| {
        add.push(format!("{name}{}", d.between(i + 200, 1, 500_000)).into_bytes());
    })
}

fn leaderboard(d: Dice, to: &mut Vec<Command>) -> bool {
    collect(to, "ZADD", &format!("leaderboard:{}", d.index), d.between(1, 50, 400), |i, add| {
        add.extend([d.between(i + 200, 0, 100_000).to_string().into_bytes(), format!("player:{i}").into_bytes()]);
    })
}

fn queue(d: Dice, to: &mut Vec<Command>) -> bool {
    collect(to, "RPUSH", &format!("queue:mail-{}", d.index), d.between(1, 10, 500), |i, add| {
        add.push(format!("{{\"job\":{i},\"to\":\"user{i}@example.org\"}}").into_bytes());
    })
}

fn events(d: Dice, to: &mut Vec<Command>) -> bool {
    let key = format!("events:{}", d.index);
    to.extend((1..=d.between(1, 50, 300)).map(|i| {
        words(["XADD", &key, &format!("{i}-0"), "kind", "login", "user", &d.between(i + 200, 1, 500_000).to_string()])
    }));
    true
}

/// The highest bit says how large a bitmap is.
fn active(d: Dice, to: &mut Vec<Command>) -> bool {
    let key = format!("active:{:04}-{:02}-{:02}", 2000 + d.index / 336, d.index / 28 % 12 + 1, d.index % 28 + 1);
    let bits = [500_000 + d.between(1, 0, 100_000), d.between(2, 0, 500_000), d.between(3, 0, 500_000)];
    to.extend(bits.map(|bit| words(["SETBIT", &key, &bit.to_string(), "1"])));
    true
}

/// Names that are no text, nor safe in a terminal, a line or a pattern.
fn binary(d: Dice, to: &mut Vec<Command>) -> bool {
    let mut key = b"bin:\xff\x00\x01".to_vec();
    key.extend(d.index.to_string().as_bytes());
    key.extend(b"\n*[?");
    to.push(vec![b"SET".to_vec(), key, d.number(1).to_string().into_bytes()]);
    true
}
