//! `jwt`: what it costs to sign and verify tokens.

use std::hint::black_box;
use std::time::{Duration, Instant};

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use serde_json::{Value, json};

use crate::cli::{JwtArgs, Operation};
use crate::quantile::{Quantile, Sample};
use crate::tally::Times;
use crate::token::Signer;
use crate::work::Work;

/// Nothing is measured before caches are warm.
const WARM_UP: Duration = Duration::from_millis(100);
/// How many operations are timed at once, so that looking at the clock costs next to nothing.
const AT_ONCE: Duration = Duration::from_micros(200);

/// Measures each algorithm and operation.
///
/// # Errors
/// The claims do not hold, or a key cannot be made.
pub fn run(args: &JwtArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    "tokens".clone_into(&mut work.subject);
    let claims = match &args.claims {
        None => usual_claims(),
        Some(path) => {
            let wrong = |why: String| Failure::usage(format!("the claims {}: {why}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
            let claims: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            if !claims.is_object() {
                return Err(wrong("they are no JSON object".to_owned()));
            }
            claims
        }
    };
    for algorithm in &args.alg {
        let signer = Signer::new(*algorithm)?;
        let token = signer.sign(&claims)?;
        signer.verify(&token, 0).map_err(|why| Failure::usage(format!("a token of these claims: {why}")))?;
        for operation in &args.op {
            if work.cancel.is_cancelled() {
                return Ok(());
            }
            let step = || match operation {
                Operation::Sign => drop(black_box(signer.sign(black_box(&claims)))),
                Operation::Verify => drop(black_box(signer.verify(black_box(&token), 0))),
            };
            let word = if *operation == Operation::Sign { "sign" } else { "verify" };
            let name = format!("{} {word}", algorithm.as_str());
            work.run.emit(&measure(&name, args, &step));
        }
    }
    work.run.result("threads", args.threads);
    Ok(())
}

/// Who, for whom, from whom, until when: what most tokens say.
pub fn usual_claims() -> Value {
    json!({
        "iss": "https://login.example.com",
        "sub": "5f9e1b7c-2c55-4a53-9d0a-7d3f8f5a1e42",
        "aud": ["api.example.com"],
        "iat": 1_700_000_000,
        "exp": 4_000_000_000_u64,
        "scope": "orders:read orders:write",
    })
}

/// Does it for a while, on every thread.
fn measure(name: &str, args: &JwtArgs, step: &(dyn Fn() + Sync)) -> Record {
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < WARM_UP {
        step();
        count += 1;
    }
    let one = WARM_UP.as_secs_f64() / f64::from(count.max(1));
    let batch = (AT_ONCE.as_secs_f64() / one).ceil().max(1.0) as u32;
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads).map(|_| scope.spawn(|| timed(step, batch, args.time.0))).collect();
        let mut all = Times::default();
        for thread in threads {
            all.add(&thread.join().unwrap_or_default());
        }
        all
    });
    tell(name, args.threads, &times)
}

/// The times of one operation in picoseconds, as some take less than a microsecond.
fn timed(step: &(dyn Fn() + Sync), batch: u32, length: Duration) -> Times {
    let mut times = Times::default();
    let begun = Instant::now();
    while begun.elapsed() < length {
        let batch_begun = Instant::now();
        for _ in 0..batch {
            step();
        }
        let picoseconds = batch_begun.elapsed().as_nanos() * 1000 / u128::from(batch);
        times.record(u64::try_from(picoseconds).unwrap_or(u64::MAX));
    }
    times
}

fn tell(name: &str, threads: usize, times: &Times) -> Record {
    // What the histogram takes for nanoseconds are picoseconds.
    let seconds = |value: f64| value / 1e3;
    let quantile = Sample::new([times], &Times::default()).quantile(0.5);
    let Quantile::Known { value, low, high } = quantile else {
        let message = "it takes too long to be measured in this time: give it more (--time)";
        return Record::new(Kind::Metric, name, Status::Unknown, message);
    };
    let (median, low, high) = (seconds(value), seconds(low), high.map(seconds));
    let rate = threads as f64 / median;
    let micro = |value: f64| format!("{:.2}", value * 1e6);
    let message = format!(
        "{rate:.0} a second over {threads} thread{}; {} us each ({} to {})",
        if threads == 1 { "" } else { "s" },
        micro(median),
        micro(low),
        high.map_or_else(|| "?".to_owned(), micro)
    );
    Record::new(Kind::Metric, name, Status::Ok, message)
        .field("operations_per_second", rate)
        .field("median_seconds", median)
        .field("interval_seconds", (low, high))
}
