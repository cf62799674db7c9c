//! `REINDEX INDEX CONCURRENTLY` of one index, and dropping what unfinished rebuilds left.
//!
//! A concurrent rebuild that ends early, for whatever reason, leaves an invalid index: before the swap the new one,
//! after it the old one, and then the rebuild itself has succeeded. So after every rebuild, well or badly ended, the
//! table's indexes are looked at again: was the index exchanged, and which leftover is ours to drop.

use maint_core::pg::Error;
use maint_core::pg::connect::Session;
use maint_core::record::Kind;
use maint_core::status::Status;
use maint_core::units::format_bytes;

use super::table::locked_by;
use super::{Outcome, Shared, failed};
use crate::indexes::{Index, State, classify, indexes};
use crate::intents::Intent;
use crate::step::{Action, Step};

fn done(step: &Step, status: Status, text: impl Into<String>) -> Outcome {
    Outcome::Done(Box::new(step.record(Kind::Step, status, text)))
}

pub(super) async fn rebuild(shared: &Shared<'_>, session: &mut Session, step: &Step) -> Result<Outcome, Error> {
    let before = indexes(session, Some(step.table_oid)).await?;
    let Some(index) = before.iter().find(|index| is_same(index, step)) else {
        return Ok(done(step, Status::Gone, "dropped, renamed or rebuilt since the plan was made"));
    };
    if !index.allowed {
        return Ok(done(step, Status::Denied, format!("role {} may not rebuild it", session.user())));
    }
    if index.system || index.exclusion || index.partitioned {
        return Ok(done(step, Status::Skipped, "this kind of index cannot be rebuilt concurrently"));
    }
    if let Some(pid) = before.iter().find_map(|index| index.builder) {
        return Ok(Outcome::Later(format!("pid {pid} is building an index of the same table")));
    }
    let intent = Intent {
        index: step.subject(),
        table_oid: step.table_oid,
        before: before.iter().map(|index| index.oid).collect(),
    };
    if let Some(intents) = shared.intents().as_mut()
        && let Err(error) = intents.begin(step.oid, intent)
    {
        return Ok(done(step, Status::Failed, error.to_string()));
    }

    let result = shared.run_statement(session, &step.sql()).await;

    if matches!(result, Err(Error::ConnectionLost { .. } | Error::Down { .. })) {
        // The note stays: the next run finds what was left.
        return result.map(|_| done(step, Status::Failed, ""));
    }
    let after = indexes(session, Some(step.table_oid)).await?;
    let left = clear(shared, session, &after).await?;
    if left.is_empty()
        && let Some(intents) = shared.intents().as_mut()
    {
        intents.end(step.oid);
    }
    let new = after.iter().find(|index| index.schema == step.schema && index.name == step.relation);
    let rebuilt = new.filter(|new| new.oid != step.oid && new.valid);
    let leftover = if left.is_empty() {
        String::new()
    } else {
        format!("; {} is left and the next run drops it", left.join(", "))
    };
    let interrupted = shared.guard.cancel().is_cancelled();
    Ok(match (rebuilt, result) {
        (Some(new), result) => {
            let text = match (&result, left.is_empty()) {
                (Ok(_), _) => "rebuilt",
                (Err(_), true) => "rebuilt; the old copy was left by the server and has been dropped",
                (Err(_), false) => "rebuilt, old copy left",
            };
            let text =
                format!("{text}, {} -> {}{leftover}", format_bytes(step.size_bytes), format_bytes(new.size_bytes));
            let status = if left.is_empty() { Status::Ok } else { Status::Warning };
            let record = step
                .record(Kind::Step, status, text)
                .field("size_bytes_before", step.size_bytes)
                .field("size_bytes_after", new.size_bytes)
                .field("leftovers", left);
            Outcome::Done(Box::new(record))
        }
        (None, Ok(notices)) => {
            let said = notices.first().cloned().unwrap_or_default();
            done(step, Status::Failed, format!("the server reported success but did not rebuild it {said}"))
        }
        (None, Err(Error::Cancelled(_))) if interrupted => {
            done(step, Status::Left, format!("cancelled: the run was interrupted{leftover}"))
        }
        (None, Err(Error::Cancelled(_))) => {
            done(step, Status::Failed, format!("took longer than step_timeout and was cancelled{leftover}"))
        }
        (None, Err(Error::LockTimeout(_))) => {
            Outcome::Later(format!("{}{leftover}", locked_by(session, step.table_oid).await?))
        }
        (None, Err(error)) => match failed(step, &error) {
            Outcome::Done(mut record) => {
                record.message.push_str(&leftover);
                Outcome::Done(record)
            }
            other => other,
        },
    })
}

/// Drops the leftovers of ours on one table and returns the names of those that could not be dropped.
async fn clear(shared: &Shared<'_>, session: &mut Session, after: &[Index]) -> Result<Vec<String>, Error> {
    let ours = shared.intents().as_ref().map(|intents| intents.leftovers(after)).unwrap_or_default();
    let mut left = Vec::new();
    if ours.is_empty() {
        return Ok(left);
    }
    // Whoever pressed ctrl-C waits: what cannot be dropped within a second is left to the next run.
    if shared.guard.cancel().is_cancelled() {
        session.execute_raw("SET lock_timeout = '800ms'").await.result?;
    }
    for index in after.iter().filter(|index| ours.contains(&index.oid) && index.builder.is_none()) {
        let sql = format!(
            "DROP INDEX CONCURRENTLY IF EXISTS {}",
            maint_core::pg::ident::Relation::new(&index.schema, &index.name).quoted()
        );
        // Not cancellable: it waits for locks only as long as the lock timeout, and it is what a cancel is for.
        match session.execute_raw(&sql).await.result {
            Ok(()) => {}
            Err(error @ Error::ConnectionLost { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!("cannot drop {}: {error}", index.subject());
                left.push(index.subject());
            }
        }
    }
    Ok(left)
}

pub(super) async fn drop_leftover(shared: &Shared<'_>, session: &mut Session, step: &Step) -> Result<Outcome, Error> {
    let all = indexes(session, Some(step.table_oid)).await?;
    let Some(index) = all.iter().find(|index| is_same(index, step)) else {
        return Ok(done(step, Status::Gone, "dropped or renamed since the plan was made"));
    };
    let ours = shared.intents().as_ref().map(|intents| intents.leftovers(&all)).unwrap_or_default();
    match classify(index, &all, &ours) {
        State::OurLeftover => {}
        State::Leftover | State::PromotedLeftover if shared.foreign => {}
        State::Leftover | State::PromotedLeftover => {
            return Ok(done(step, Status::Skipped, "somebody else's leftover: dropped only with --yes"));
        }
        State::Building { pid } => return Ok(Outcome::Later(format!("pid {pid} is building it"))),
        State::Healthy | State::Invalid | State::Incomplete => {
            return Ok(done(step, Status::Skipped, "not a leftover of a rebuild: left alone"));
        }
    }
    match shared.run_statement(session, &step.sql()).await {
        Ok(_) => {}
        Err(Error::LockTimeout(_)) => return Ok(Outcome::Later(locked_by(session, step.table_oid).await?)),
        Err(Error::Cancelled(_)) if shared.guard.cancel().is_cancelled() => {
            return Ok(done(step, Status::Left, "cancelled: the run was interrupted"));
        }
        Err(error) => return Ok(failed(step, &error)),
    }
    let all = indexes(session, Some(step.table_oid)).await?;
    if all.iter().any(|index| index.oid == step.oid) {
        return Ok(done(step, Status::Failed, "the server reported success but it is still there"));
    }
    if let Some(intents) = shared.intents().as_mut()
        && let Err(error) = intents.settle(&all, Some(step.table_oid))
    {
        tracing::warn!("{error}");
    }
    Ok(done(step, Status::Ok, format!("dropped, {} given back", format_bytes(step.size_bytes))))
}

fn is_same(index: &Index, step: &Step) -> bool {
    debug_assert!(matches!(step.action, Action::Reindex | Action::DropLeftover));
    index.oid == step.oid && index.schema == step.schema && index.name == step.relation
}
