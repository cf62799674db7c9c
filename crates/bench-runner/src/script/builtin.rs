//! The workloads that pgbench brings along, statement by statement.

const ACCOUNT: &str = "\\set aid random(1, 100000 * :scale)\n";
const OTHERS: &str =
    "\\set bid random(1, 1 * :scale)\n\\set tid random(1, 10 * :scale)\n\\set delta random(-5000, 5000)\n";
const SELECT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n";
const UPDATE: &str = "UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n";
const BOTH: &str = "UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;\n\
    UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;\n";
const HISTORY: &str = "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) \
    VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);\n";

/// The script of that name: `select-only` (pgbench's -S), `simple-update` (-N), `tpcb` (its default, like TPC-B).
pub fn builtin(name: &str) -> Option<String> {
    Some(match name {
        "select-only" => format!("{ACCOUNT}{SELECT}"),
        "simple-update" => format!("{ACCOUNT}{OTHERS}BEGIN;\n{UPDATE}{SELECT}{HISTORY}END;\n"),
        "tpcb" => format!("{ACCOUNT}{OTHERS}BEGIN;\n{UPDATE}{SELECT}{BOTH}{HISTORY}END;\n"),
        _ => return None,
    })
}
