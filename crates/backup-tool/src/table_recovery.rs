//! `table-recovery`: one table as it was, beside the one that is there.
//!
//! The table is brought back in a scratch cluster, moved there into a schema that the living database does not have under
//! that name, dumped, and loaded. So nothing of the living table is touched, and what fails half way is one schema or
//! table that nobody else knows, which is dropped again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use maint_core::cli::{open_guard, state_directory};
use maint_core::confirm::confirm;
use maint_core::failure::Failure;
use maint_core::pg::connect::Session;
use maint_core::pg::dsn::Target;
use maint_core::pg::{Error, Relation, quote_ident};
use maint_core::record::{Kind, Record};
use maint_core::status::Status;
use maint_core::units::format_count;
use sqlx::{AssertSqlSafe, Row as _};

use crate::cli::TableRecoveryArgs;
use crate::recovery::preflight::prepare;
use crate::recovery::programs;
use crate::recovery::scratch::{Scratch, ScratchSpec};
use crate::recovery::target::{Action, Wanted};
use crate::trust::fingerprint::{self, TableFact};
use crate::work::Work;

/// Where the table goes in the living database.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Goal {
    /// Into this schema, under its own name.
    Schema(String),
    /// Into its own schema, under this name.
    Name(String),
}

/// What was taken off the table, because it concerns others: to be put back by hand where it is wanted.
#[derive(Debug, Default)]
struct TakenOff(Vec<String>);

/// Brings the table back.
///
/// # Errors
/// The moment is not reachable, the table was not there, its new place is taken; nothing was changed then. Or loading
/// failed; what was made is dropped again.
pub fn run(args: &TableRecoveryArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    open_guard(&args.change, &mut work.settings, &work.cancel)?;
    let wanted = Wanted::moment(&args.to).map_err(Failure::usage)?;
    let mut live = work.target(&args.server)?;
    if let Some(database) = &args.database {
        live = live.with_database(database);
    }
    work.subject.clone_from(&args.table);
    let goal = match (&args.into, &args.rename) {
        (Some(schema), None) => Goal::Schema(schema.clone()),
        (None, Some(name)) => Goal::Name(name.clone()),
        _ => return Err(Failure::usage("give --into SCHEMA or --rename NAME")),
    };
    let mut session = work.block_on(fingerprint::session(&live, "table-recovery"))?;
    let store = work.store()?;
    let prepared = prepare(work, &store, &wanted, None)?;
    let backup = &prepared.backup;
    let (dump, load) = (
        programs::find(&work.settings, "pg_dump", backup.major())?,
        programs::find(&work.settings, "pg_restore", backup.major())?,
    );
    let message = format!(
        "as it was at {}, from {} and {} WAL segments, into {} of {}",
        wanted.point,
        backup.label,
        prepared.segments.len(),
        goal.shown(),
        live.database()
    );
    let plan = Record::new(Kind::Plan, args.table.clone(), Status::Planned, message).field("label", &backup.label);
    work.run.emit(&plan);
    if args.change.dry_run {
        return Ok(());
    }
    confirm(&format!("load a table into {live}"), args.change.yes)
        .map_err(|error| Failure::usage(error.to_string()))?;
    work.run.journal_in(&state_directory()?)?;
    let begun = Instant::now();
    let target = wanted.settings(&prepared.choice.timeline_setting(), Action::Promote);
    let spec = ScratchSpec { store: &store, stored: &prepared.stored, backup, target, under: args.scratch.as_deref() };
    let scratch = Scratch::recover(work, &spec)?;
    let old = scratch.target(live.database())?;
    let mut past = work.block_on(fingerprint::session(&old, "table-recovery"))?;
    let found = work.block_on(find(&mut past, &args.table))?;
    let table = found.ok_or_else(|| {
        Failure::usage(format!("there was no table {} in {} at {}", args.table, live.database(), wanted.point))
    })?;
    let table = table.map_err(|several| Failure::usage(format!("{} is any of {}", args.table, several.join(", "))))?;
    let final_place = match &goal {
        Goal::Schema(schema) => Relation::new(schema.clone(), table.name.clone()),
        Goal::Name(name) => Relation::new(table.schema.clone(), name.clone()),
    };
    if work.block_on(exists(&mut session, &final_place))? {
        return Err(Failure::usage(format!("there is a {} in {live} already", final_place.quoted()))
            .hint("give another schema or name; nothing was changed"));
    }
    // The schema it travels in: the goal itself, or one that only this run knows.
    let schema = match &goal {
        Goal::Schema(schema) => schema.clone(),
        Goal::Name(_) => format!("maint_recovery_{}", work.run.id().to_lowercase()),
    };
    let taken_off = work.block_on(move_over(&mut past, &mut session, &table, &schema))?;
    let moved = Relation::new(schema.clone(), table.name.clone());
    let before = work.block_on(fingerprint::of_table(&mut past, &moved, false))?;
    let file = scratch.directory().join("table.dump");
    program(&dump, &old, &["-Fc", "--no-owner", "--no-privileges", "-n", &quote_ident(&schema), "-f"], &file)?;
    let made_schema = work.block_on(make_schema(&mut session, &schema))?;
    let how = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", "-n", &schema, "-d"];
    let how: Vec<&str> = how.into_iter().chain([live.database()]).collect();
    let loaded = program(&load, &live, &how, &file)
        .and_then(|()| compare(work, &mut session, &moved, &before))
        .and_then(|()| match &goal {
            Goal::Schema(_) => Ok(()),
            Goal::Name(name) => Ok(work.block_on(settle(&mut session, &moved, &table.schema, name))?),
        });
    if let Err(failure) = loaded {
        // Only a schema that this run made is known to hold nothing of others.
        if made_schema {
            let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", quote_ident(&schema));
            let _ = work.block_on(session.execute_raw(&sql));
        }
        return Err(failure);
    }
    for what in &taken_off.0 {
        let message = "was part of it and was left out: put it back where it is wanted";
        work.run.emit(&Record::new(Kind::Finding, what.clone(), Status::Ok, message));
    }
    let rows = format_count(before.rows.unsigned_abs());
    let message = format!("{rows} rows as of {}; count and content are those of the past", wanted.point);
    let record = Record::new(Kind::Step, format!("{}.{}", final_place.schema, final_place.name), Status::Ok, message);
    work.run.emit(
        &record
            .field("rows", before.rows)
            .field("hash", &before.hash)
            .field("label", &backup.label)
            .field("left_out", &taken_off.0)
            .field("duration_seconds", begun.elapsed().as_secs_f64()),
    );
    Ok(())
}

impl Goal {
    fn shown(&self) -> String {
        match self {
            Goal::Schema(schema) => format!("schema {schema}"),
            Goal::Name(name) => format!("the name {name}"),
        }
    }
}

type Found = Option<Result<Relation, Vec<String>>>;

/// The table that a name means: `SCHEMA.TABLE`, or `TABLE` where only one schema has it.
async fn find(session: &mut Session, text: &str) -> Result<Found, Error> {
    let (schema, name) = match text.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, text),
    };
    let sql = "SELECT n.nspname::text AS schema, c.relname::text AS name FROM pg_catalog.pg_class AS c \
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
        WHERE c.relkind IN ('r', 'p') AND c.relname = $1 AND ($2::text IS NULL OR n.nspname = $2) \
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1";
    let rows = sqlx::query(sql).bind(name).bind(schema).fetch_all(session.conn()).await?;
    let mut tables = Vec::new();
    for row in rows {
        tables.push(Relation::new(row.try_get::<String, _>("schema")?, row.try_get::<String, _>("name")?));
    }
    Ok(match (tables.pop(), tables.is_empty()) {
        (None, _) => None,
        (Some(only), true) => Some(Ok(only)),
        (Some(last), false) => {
            Some(Err(tables.iter().chain([&last]).map(|table| format!("{}.{}", table.schema, table.name)).collect()))
        }
    })
}

async fn exists(session: &mut Session, table: &Relation) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n \
        ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)";
    Ok(sqlx::query_scalar(sql).bind(&table.schema).bind(&table.name).fetch_one(session.conn()).await?)
}

/// Makes the schema where it is missing; says whether it did.
async fn make_schema(session: &mut Session, schema: &str) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)";
    if sqlx::query_scalar(sql).bind(schema).fetch_one(session.conn()).await? {
        return Ok(false);
    }
    session.execute_raw(&format!("CREATE SCHEMA {}", quote_ident(schema))).await.result?;
    Ok(true)
}

async fn texts(session: &mut Session, sql: &str, table: &Relation) -> Result<Vec<String>, Error> {
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(table.quoted()).fetch_all(session.conn()).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// In the scratch cluster: takes off what concerns others, and moves the table with its partitions, sequences and the types
/// that the living database has not, into the schema.
async fn move_over(past: &mut Session, live: &mut Session, table: &Relation, schema: &str) -> Result<TakenOff, Error> {
    // Something of that name may have been there, too; it is not what is wanted now.
    if schema != table.schema {
        let name = quote_ident(schema);
        past.execute_raw(&format!("DROP SCHEMA IF EXISTS {name} CASCADE")).await.result?;
        past.execute_raw(&format!("CREATE SCHEMA {name}")).await.result?;
    }
    let tables = texts(
        past,
        "WITH RECURSIVE part AS (SELECT $1::regclass::oid AS oid UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i \
         JOIN part ON i.inhparent = part.oid) SELECT oid::regclass::text FROM part",
        table,
    )
    .await?;
    let mut taken_off = TakenOff::default();
    for each in &tables {
        let drops = [
            ("SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS drop, \
                 format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS told \
                 FROM pg_catalog.pg_constraint WHERE conrelid = $1::regclass AND contype = 'f' AND conparentid = 0",),
            (
                "SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) AS drop, pg_get_triggerdef(oid) AS told \
                 FROM pg_catalog.pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal AND tgparentid = 0",
            ),
            ("SELECT format('DROP POLICY %I ON %s', polname, polrelid::regclass) AS drop, \
                 format('policy %s on %s', polname, polrelid::regclass) AS told \
                 FROM pg_catalog.pg_policy WHERE polrelid = $1::regclass",),
            ("SELECT format('DROP RULE %I ON %s', rulename, ev_class::regclass) AS drop, pg_get_ruledef(oid) AS told \
                 FROM pg_catalog.pg_rewrite WHERE ev_class = $1::regclass",),
        ];
        for (sql,) in drops {
            let rows = sqlx::query(sql).bind(each).fetch_all(past.conn()).await?;
            for row in rows {
                let drop: String = row.try_get("drop")?;
                taken_off.0.push(row.try_get("told")?);
                past.execute_raw(&drop).await.result?;
            }
        }
    }
    let types = texts(
        past,
        "SELECT DISTINCT format_type(coalesce(nullif(t.typelem, 0), t.oid), NULL) FROM pg_catalog.pg_attribute AS a \
         JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid JOIN pg_catalog.pg_type AS e \
         ON e.oid = coalesce(nullif(t.typelem, 0), t.oid) \
         WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND e.typtype IN ('e', 'd', 'c', 'r') \
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d WHERE d.objid = e.oid AND d.deptype = 'e')",
        table,
    )
    .await?;
    let name = quote_ident(schema);
    for kind in types {
        let known = sqlx::query_scalar::<_, bool>("SELECT to_regtype($1) IS NOT NULL");
        if !known.bind(&kind).fetch_one(live.conn()).await? {
            past.execute_raw(&format!("ALTER TYPE {kind} SET SCHEMA {name}")).await.result?;
        }
    }
    for each in tables {
        if schema != table.schema {
            past.execute_raw(&format!("ALTER TABLE {each} SET SCHEMA {name}")).await.result?;
        }
    }
    Ok(taken_off)
}

/// Whether the table that was loaded holds what the past held.
fn compare(work: &Work<'_>, session: &mut Session, table: &Relation, before: &TableFact) -> Result<(), Failure> {
    let now = work.block_on(fingerprint::of_table(session, table, false))?;
    if now == *before {
        return Ok(());
    }
    Err(Failure::critical(format!(
        "{} rows were loaded of {}, or with other content; it was dropped again",
        now.rows, before.rows
    )))
}

/// Puts the table beside the one that is there: under its new name, its indexes and sequences with it.
async fn settle(session: &mut Session, moved: &Relation, schema: &str, name: &str) -> Result<(), Error> {
    let sql = "SELECT format('ALTER %s %s RENAME TO %I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'INDEX' END, \
        c.oid::regclass, left($2 || '_' || c.relname, 63)) AS rename FROM pg_catalog.pg_class AS c \
        WHERE c.relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = $1::regclass) \
        AND c.relkind IN ('i', 'I', 'S')";
    let rows = sqlx::query(sql).bind(moved.quoted()).bind(name).fetch_all(session.conn()).await?;
    let own = quote_ident(&moved.schema);
    let mut sql = vec!["BEGIN".to_owned()];
    for row in rows {
        sql.push(row.try_get("rename")?);
    }
    sql.push(format!("ALTER TABLE {} RENAME TO {}", moved.quoted(), quote_ident(name)));
    let renamed = Relation::new(moved.schema.clone(), name);
    sql.push(format!("ALTER TABLE {} SET SCHEMA {}", renamed.quoted(), quote_ident(schema)));
    sql.push(format!("DROP SCHEMA {own}"));
    sql.push("COMMIT".to_owned());
    for statement in sql {
        if let Err(error) = session.execute_raw(&statement).await.result {
            let _ = session.execute_raw("ROLLBACK").await;
            return Err(error);
        }
    }
    Ok(())
}

/// Runs a program of the server's package on a database; how to reach it is in its environment only.
fn program(program: &PathBuf, target: &Target, args: &[&str], file: &Path) -> Result<(), Failure> {
    let mut command = Command::new(program);
    command.args(args).arg(file).envs(target.libpq_environment()).stdin(Stdio::null());
    let output =
        command.output().map_err(|error| Failure::critical(format!("cannot start {}: {error}", program.display())))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("error:")).collect();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    Err(Failure::critical(format!("{name} failed: {}", lines.first().map_or("it did not say why", |line| line))))
}
