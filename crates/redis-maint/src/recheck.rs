//! Touching a key only when it is still what the plan saw, in one step on the server.
//!
//! Between a look and a touch a key can be read, replaced or made anew. So the server itself compares and acts in one
//! step: by a script where the user may run one, and by WATCH and MULTI where not. A user who may do neither is
//! refused: there is no third way that could not hit a key that somebody has just written.
//!
//! What is compared: type, bytes of memory, time to live, and the idle time. A key that nobody touched since has been
//! idle for as long as it had been then and the time that went by; one that was replaced has not. The server counts
//! idle time in whole seconds, so for a key that was in use when it was seen, the plan holds a digest of its value
//! instead, and that is compared.

use std::fmt::Write as _;

use jiff::Timestamp;
use redis::{Cmd, Pipeline, Value};

use crate::entry::Expiry;
use crate::node::{Node, integer, text};
use crate::step::{Action, Step};
use crate::trouble::Trouble;

/// How much the moment of expiry may seem to move between two looks, in milliseconds: clocks are read, and answers
/// travel.
const EXPIRY_TOLERANCE_MS: i64 = 2_000;
/// Seconds by which two readings of the idle time may differ though nobody touched the key: both are cut to whole
/// seconds, and the server's clock for it ticks once a second.
const IDLE_SLACK_SECONDS: u64 = 2;
/// Values per key in the arguments of the script.
const ARGUMENTS: usize = 9;

/// Compares and acts on KEYS, each with nine values of ARGV, and answers one word a key: `done`, `gone`, or what is
/// different. All names of keys are declared, no text is built into the script.
///
/// A command that fails (one that the user may not run, say) fails for its key alone: `failed` and what the server said.
pub const SCRIPT: &str = r"
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local function judge(key, a)
  local action, kind, expires, bytes, samples = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local idle, digest, ttl, tolerance = ARGV[a + 6], ARGV[a + 7], ARGV[a + 8], tonumber(ARGV[a + 9])
  local left = redis.call('PTTL', key)
  if left == -2 then
    return 'gone'
  elseif expires == 'never' and left ~= -1 then
    return 'expiry'
  elseif expires == 'later' and left ~= -1 and left <= tonumber(ttl) then
    return 'expiry'
  elseif expires ~= '' and expires ~= 'never' and expires ~= 'later' and
      (left == -1 or math.abs(math.min(now_ms + left, 253402207200999) - tonumber(expires)) > tolerance) then
    return 'expiry'
  elseif kind ~= '' and redis.call('TYPE', key).ok ~= kind then
    return 'type'
  elseif bytes ~= '' and redis.call('MEMORY', 'USAGE', key, 'SAMPLES', samples) ~= tonumber(bytes) then
    return 'bytes'
  elseif idle ~= '' and redis.call('OBJECT', 'IDLETIME', key) < tonumber(idle) then
    return 'idle'
  elseif digest ~= '' and redis.sha1hex(redis.call('DUMP', key)) ~= digest then
    return 'value'
  elseif action == 'delete' then
    return redis.call('UNLINK', key) == 1 and 'done' or 'gone'
  end
  return redis.call('PEXPIRE', key, ttl) == 1 and 'done' or 'gone'
end
local out = {}
for i, key in ipairs(KEYS) do
  local fine, verdict = pcall(judge, key, (i - 1) * 9)
  if not fine then
    verdict = 'failed ' .. tostring(type(verdict) == 'table' and verdict.err or verdict)
  end
  out[i] = verdict
end
return out
";

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was done.
    Done,
    /// The key is not there.
    Gone,
    /// The key is not what the plan saw: what is different.
    Changed(&'static str),
    /// Not done, and why.
    Failed(Trouble),
}

/// How steps are made safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// By the script of this digest.
    Script(String),
    /// By WATCH and MULTI.
    Watch,
}

/// Finds out how the user may act in one step.
///
/// # Errors
/// Neither way is permitted, or the connection broke.
pub async fn method(node: &mut Node) -> Result<Method, Trouble> {
    match node.call(redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT)).await {
        Ok(value) => {
            let digest = text(&value).ok_or_else(|| Trouble::answer("SCRIPT LOAD", &value))?;
            // Loading and running are permitted apart from each other. Without keys the script does nothing.
            match node.call(redis::cmd("EVALSHA").arg(&digest).arg(0)).await {
                Ok(_) => return Ok(Method::Script(digest)),
                Err(Trouble::Denied(_)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Err(Trouble::Denied(_) | Trouble::Unsupported(_)) => {}
        Err(trouble) => return Err(trouble),
    }
    // UNWATCH needs the same right as WATCH, MULTI and EXEC (@transaction), and changes nothing.
    match node.call(&redis::cmd("UNWATCH")).await {
        Ok(_) => Ok(Method::Watch),
        Err(Trouble::Denied(why)) => Err(Trouble::Denied(format!(
            "a key cannot be compared and changed in one step without EVALSHA (+@scripting) or WATCH and MULTI (+@transaction): {why}"
        ))),
        Err(trouble) => Err(trouble),
    }
}

/// What is compared for one step at this moment, as the values of the script.
fn arguments(step: &Step, now: Timestamp) -> [String; ARGUMENTS] {
    let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let expires = match (step.action, step.expires.map(|expires| expires.0)) {
        (_, None) => String::new(),
        (_, Some(Expiry::Never)) => "never".to_owned(),
        // A time to live that is too long may have been set anew since; it is too long or it is not.
        (Action::Expire, Some(Expiry::At(_))) => "later".to_owned(),
        (Action::Delete, Some(Expiry::At(moment))) => moment.as_millisecond().to_string(),
    };
    let elapsed = now.duration_since(step.seen).as_secs().try_into().unwrap_or(0u64);
    // With a digest the value itself is compared, and a key that was only read may go by the rule. Taking the digest was
    // a use of the key, before 7.2: it has been idle since then at most.
    let (unchanged, wanted) = match (step.idle_seconds, &step.digest) {
        (Some(idle), None) => (Some((idle + elapsed).saturating_sub(IDLE_SLACK_SECONDS)), step.min_idle_seconds),
        (None, None) => (None, step.min_idle_seconds),
        (_, Some(_)) => {
            let since = elapsed.saturating_sub(IDLE_SLACK_SECONDS);
            (None, step.min_idle_seconds.map(|least| least.min(since)))
        }
    };
    let delete = step.action == Action::Delete;
    [
        step.action.as_str().to_owned(),
        step.kind.clone().unwrap_or_default(),
        expires,
        number(step.bytes.filter(|_| delete)),
        step.samples.unwrap_or(0).to_string(),
        number(unchanged.max(wanted).filter(|_| delete)),
        step.digest.clone().unwrap_or_default(),
        number(step.ttl_ms),
        EXPIRY_TOLERANCE_MS.to_string(),
    ]
}

/// The call of the script for a few steps; in a cluster one, because the keys must share a slot.
pub fn script_call(digest: &str, steps: &[Step], now: Timestamp) -> Cmd {
    let mut command = redis::cmd("EVALSHA");
    command.arg(digest).arg(steps.len());
    for step in steps {
        command.arg(step.key_bytes());
    }
    for step in steps {
        command.arg(&arguments(step, now));
    }
    command
}

/// What the script answered, one verdict a step.
pub fn script_verdicts(node: &Node, value: Value, count: usize) -> Vec<Verdict> {
    let verdicts: Option<Vec<Verdict>> = match node.sound(value) {
        Err(trouble) => return vec![Verdict::Failed(trouble); count],
        Ok(Value::Array(items)) if items.len() == count => {
            items.iter().map(|item| verdict(item, &node.address)).collect()
        }
        Ok(_) => None,
    };
    verdicts.unwrap_or_else(|| vec![Verdict::Failed(Trouble::answer("EVALSHA", &Value::Nil)); count])
}

fn verdict(value: &Value, address: &std::sync::Arc<str>) -> Option<Verdict> {
    let word = text(value)?;
    if let Some(said) = word.strip_prefix("failed ") {
        let said = said.trim_start_matches('-');
        let (code, detail) = said.split_once(' ').unwrap_or((said, ""));
        return Some(Verdict::Failed(Trouble::server(code, detail, address)));
    }
    Some(match word.as_str() {
        "done" => Verdict::Done,
        "gone" => Verdict::Gone,
        "expiry" => Verdict::Changed("its time to live"),
        "type" => Verdict::Changed("its type"),
        "bytes" => Verdict::Changed("its size"),
        "idle" => Verdict::Changed("it was used since"),
        "value" => Verdict::Changed("its value"),
        _ => return None,
    })
}

/// One step by WATCH and MULTI: looks, compares here, and lets the server act only when the key was not touched by
/// anybody since the look. With `retire` the key is renamed to that instead of removed.
///
/// # Errors
/// The connection broke, or a command is not permitted.
pub async fn watched(node: &mut Node, step: &Step, now: Timestamp, retire: Option<&[u8]>) -> Result<Verdict, Trouble> {
    let key = step.key_bytes();
    let wanted = arguments(step, now);
    let [_, kind, expires, bytes, samples, idle, digest, ttl, _] = &wanted;
    node.call(redis::cmd("WATCH").arg(&key)).await?;
    let difference = async {
        let left = integer(&node.call(redis::cmd("PTTL").arg(&key)).await?).unwrap_or(-2);
        if left == -2 {
            return Ok(Some(Verdict::Gone));
        }
        let expiry_fits = match expires.as_str() {
            "" => true,
            "never" => left == -1,
            "later" => left == -1 || left > ttl.parse().unwrap_or(i64::MAX),
            moment => {
                let moment: i64 = moment.parse().unwrap_or(i64::MIN);
                let until = now.as_millisecond().saturating_add(left).min(Timestamp::MAX.as_millisecond());
                left != -1 && until.abs_diff(moment) <= EXPIRY_TOLERANCE_MS.unsigned_abs()
            }
        };
        if !expiry_fits {
            return Ok(Some(Verdict::Changed("its time to live")));
        }
        if !kind.is_empty() && text(&node.call(redis::cmd("TYPE").arg(&key)).await?).as_ref() != Some(kind) {
            return Ok(Some(Verdict::Changed("its type")));
        }
        if !bytes.is_empty() {
            let mut usage = redis::cmd("MEMORY");
            usage.arg("USAGE").arg(&key).arg("SAMPLES").arg(samples);
            if integer(&node.call(&usage).await?).map(|bytes| bytes.to_string()).as_ref() != Some(bytes) {
                return Ok(Some(Verdict::Changed("its size")));
            }
        }
        if !idle.is_empty() {
            let seen = integer(&node.call(redis::cmd("OBJECT").arg("IDLETIME").arg(&key)).await?).unwrap_or(0);
            if seen < idle.parse().unwrap_or(i64::MAX) {
                return Ok(Some(Verdict::Changed("it was used since")));
            }
        }
        if !digest.is_empty() && value_digest(&node.call(redis::cmd("DUMP").arg(&key)).await?).as_ref() != Some(digest)
        {
            return Ok(Some(Verdict::Changed("its value")));
        }
        Ok(None)
    };
    let difference = difference.await;
    if let Ok(Some(verdict)) = difference {
        node.call(&redis::cmd("UNWATCH")).await?;
        return Ok(verdict);
    }
    difference?;
    let mut batch = Pipeline::with_capacity(3);
    batch.add_command(redis::cmd("MULTI"));
    batch.add_command(match (step.action, retire) {
        (Action::Delete, Some(name)) => redis::cmd("RENAME").arg(&key).arg(name).to_owned(),
        (Action::Delete, None) => redis::cmd("UNLINK").arg(&key).to_owned(),
        (Action::Expire, _) => redis::cmd("PEXPIRE").arg(&key).arg(ttl).to_owned(),
    });
    batch.add_command(redis::cmd("EXEC"));
    let mut last = Value::Nil;
    for value in node.batch(&batch, 3).await? {
        last = node.sound(value)?;
    }
    Ok(match last {
        Value::Array(results) if matches!(results.first(), Some(Value::Int(1) | Value::Okay)) => Verdict::Done,
        Value::Array(_) => Verdict::Gone,
        // EXEC answers nil when a watched key was touched.
        _ => Verdict::Changed("it was written to just now"),
    })
}

/// SHA-1 of what DUMP gives, in hexadecimal, as `redis.sha1hex` writes it.
pub fn value_digest(dump: &Value) -> Option<String> {
    use sha1::Digest as _;
    let Value::BulkString(bytes) = dump else { return None };
    let digest = sha1::Sha1::digest(bytes);
    let mut text = String::with_capacity(40);
    for byte in digest {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Expires;
    use crate::step::tests::step;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_left_alone_has_been_idle_for_all_the_time_since() {
        let mut step = step(Action::Delete, b"k");
        step.idle_seconds = Some(100);
        step.min_idle_seconds = Some(60);
        let later = at("2026-01-01T00:01:00Z");
        assert_eq!(arguments(&step, later)[5], "158");
        // With a digest the value is compared instead, and only the rule's own wish is left of the idle time, as far as it
        // can have come true since the digest was taken.
        step.digest = Some("d".into());
        assert_eq!(arguments(&step, later)[5], "58");
        step.min_idle_seconds = Some(2);
        assert_eq!(arguments(&step, later)[5], "2");
    }

    #[test]
    fn a_time_to_live_is_compared_as_a_moment() {
        let mut step = step(Action::Delete, b"k");
        let now = at("2026-01-01T00:01:00Z");
        assert_eq!(arguments(&step, now)[2], "never");
        step.expires = Some(Expires(Expiry::At(at("2026-01-01T00:00:01Z"))));
        assert_eq!(arguments(&step, now)[2], "1767225601000");
        step.action = Action::Expire;
        assert_eq!(arguments(&step, now)[2], "later");
    }

    #[test]
    fn the_script_knows_the_last_moment_that_a_plan_can_hold() {
        assert!(SCRIPT.contains(&format!(", {})", Timestamp::MAX.as_millisecond())));
    }

    #[test]
    fn the_digest_is_that_of_the_server() {
        let dump = Value::BulkString(b"abc".to_vec());
        assert_eq!(value_digest(&dump).as_deref(), Some("a9993e364706816aba3e25717850c26c9cd0d89d"));
    }
}
