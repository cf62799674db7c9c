//! Who holds the xmin horizon: the oldest snapshot that anybody may still look through. No vacuum removes a row that
//! such a snapshot can see, and none says so, so this tool names the holder.

use maint_core::pg::Error;
use maint_core::pg::connect::Session;
use maint_core::units::format_seconds;
use sqlx::Row;

/// One holder of the horizon.
#[derive(Debug, Clone)]
pub struct Holder {
    /// What it is, for people: `session pid 42 (role app, application psql, idle in transaction for 3 h)`.
    pub what: String,
    /// What ends it.
    pub remedy: String,
    /// Its age in transactions.
    pub age: i64,
}

/// Every holder that can keep rows of this database alive, the oldest first. Sessions of this program do not count.
///
/// # Errors
/// The server did not answer.
pub async fn holders(session: &mut Session) -> Result<Vec<Holder>, Error> {
    let rows = sqlx::query(
        "SELECT 'session' AS kind, pid::text AS name, usename::text AS role, application_name AS application,
                state, EXTRACT(epoch FROM pg_catalog.now() - COALESCE(xact_start, backend_start))::float8 AS seconds,
                pg_catalog.age(backend_xmin)::int8 AS age
         FROM pg_catalog.pg_stat_activity
         WHERE backend_xmin IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
           AND COALESCE(application_name, '') NOT LIKE 'pg-maint%'
           AND (datname = pg_catalog.current_database() OR backend_type = 'walsender')
         UNION ALL
         SELECT 'prepared', gid, owner::text, NULL, NULL,
                EXTRACT(epoch FROM pg_catalog.now() - prepared)::float8, pg_catalog.age(transaction)::int8
         FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()
         UNION ALL
         SELECT 'slot', slot_name::text, NULL, NULL, CASE WHEN active THEN 'active' ELSE 'inactive' END, NULL,
                GREATEST(pg_catalog.age(xmin), pg_catalog.age(catalog_xmin))::int8
         FROM pg_catalog.pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL
         ORDER BY age DESC NULLS LAST",
    )
    .fetch_all(session.conn())
    .await?;
    let mut holders = Vec::with_capacity(rows.len());
    for row in rows {
        let kind: String = row.try_get("kind")?;
        let name: String = row.try_get("name")?;
        let role: Option<String> = row.try_get("role")?;
        let application: Option<String> = row.try_get("application")?;
        let state: Option<String> = row.try_get("state")?;
        let seconds: Option<f64> = row.try_get("seconds")?;
        let since = seconds.map_or_else(String::new, |seconds| format!(" for {}", format_seconds(seconds)));
        let role = role.unwrap_or_else(|| "unknown".to_owned());
        let (what, remedy) = match kind.as_str() {
            "session" => (
                format!(
                    "session pid {name} (role {role}, application {}, {}{since})",
                    application.filter(|text| !text.is_empty()).unwrap_or_else(|| "unnamed".to_owned()),
                    state.unwrap_or_else(|| "state hidden".to_owned()),
                ),
                format!("end its transaction, or SELECT pg_terminate_backend({name})"),
            ),
            "prepared" => (
                format!("prepared transaction '{name}' (role {role}, prepared{since})"),
                format!("COMMIT PREPARED '{name}' or ROLLBACK PREPARED '{name}'"),
            ),
            _ => (
                format!("replication slot {name} ({})", state.unwrap_or_default()),
                format!("let its consumer catch up, or SELECT pg_drop_replication_slot('{name}')"),
            ),
        };
        holders.push(Holder { what, remedy, age: row.try_get::<Option<i64>, _>("age")?.unwrap_or(0) });
    }
    Ok(holders)
}
