//! What can go wrong with a command, told apart by what a caller does about it: a missing privilege is reported as
//! unknown, a lost connection is tried again, a server that is loading is not serving.

use std::sync::Arc;

use maint_core::failure::Failure;
use maint_core::status::Exit;
use redis::{ErrorKind, RedisError, Value};

/// Why a command did not do what it was sent for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No connection, or it broke.
    #[error("{address}: {why}")]
    Unreachable {
        /// The node.
        address: Arc<str>,
        /// What the system said.
        why: String,
    },
    /// No answer in time. Whether a command was carried out is not known.
    #[error("{address}: no answer in time")]
    TimedOut {
        /// The node.
        address: Arc<str>,
    },
    /// The server wants other credentials.
    #[error("{address}: the server refuses the login: {why}")]
    Login {
        /// The node.
        address: Arc<str>,
        /// What the server said.
        why: String,
    },
    /// The user may not run the command, or not on this key.
    #[error("not permitted: {0}")]
    Denied(String),
    /// The server does not know the command or its arguments: an older or another server.
    #[error("not supported by this server: {0}")]
    Unsupported(String),
    /// The server is reading its data in, or a replica waits for its primary.
    #[error("{address}: the server is not ready: {why}")]
    NotReady {
        /// The node.
        address: Arc<str>,
        /// What the server said.
        why: String,
    },
    /// A replica, which takes no writes.
    #[error("the server is a read-only replica")]
    ReadOnly,
    /// The key's slot is served by another node.
    #[error("the slot is served by another node: {0}")]
    Moved(String),
    /// A script is not in the server's cache.
    #[error("the script is not loaded")]
    NoScript,
    /// Any other error of the server.
    #[error("the server said: {0}")]
    Server(String),
    /// An answer of a shape that the command does not have.
    #[error("unexpected answer to {command}: {answer}")]
    Answer {
        /// The command.
        command: String,
        /// The answer, cut short.
        answer: String,
    },
}

impl Trouble {
    /// An answer of the wrong shape.
    pub fn answer(command: &str, value: &Value) -> Self {
        let mut answer = format!("{value:?}");
        if let Some((end, _)) = answer.char_indices().nth(120) {
            answer.truncate(end);
        }
        Trouble::Answer { command: command.to_owned(), answer }
    }

    /// What the error of one command means.
    pub fn of(error: &RedisError, address: &Arc<str>) -> Self {
        let address = Arc::clone(address);
        if let Some(code) = error.code() {
            return Trouble::server(code, error.detail().unwrap_or_default(), &address);
        }
        if error.is_timeout() {
            return Trouble::TimedOut { address };
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                Trouble::Login { address, why: error.detail().unwrap_or("authentication failed").to_owned() }
            }
            ErrorKind::InvalidClientConfig => Trouble::Server(error.to_string()),
            _ => Trouble::Unreachable { address, why: error.to_string() },
        }
    }

    /// What an error reply means: `code` is its first word.
    pub fn server(code: &str, detail: &str, address: &Arc<str>) -> Self {
        let said = if detail.is_empty() { code.to_owned() } else { format!("{code} {detail}") };
        let address = Arc::clone(address);
        match code {
            "NOPERM" => Trouble::Denied(detail.to_owned()),
            "NOAUTH" | "WRONGPASS" => Trouble::Login { address, why: said },
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" | "TRYAGAIN" => Trouble::NotReady { address, why: said },
            "READONLY" => Trouble::ReadOnly,
            "MOVED" | "ASK" => Trouble::Moved(detail.to_owned()),
            "NOSCRIPT" => Trouble::NoScript,
            _ => {
                let lower = detail.to_ascii_lowercase();
                // ERR is also what the client library makes of every error without a code of its own.
                let unsupported = lower.contains("unknown command")
                    || lower.contains("unknown subcommand")
                    || lower.contains("wrong number of arguments")
                    || lower.contains("syntax error")
                    || lower.contains("unsupported option")
                    || lower.contains("cluster support disabled");
                // A command that the user may not run, refused inside of a script.
                if lower.contains("user executing the script") || lower.contains("acl failure in script") {
                    Trouble::Denied(detail.to_owned())
                } else if lower.contains("without any password configured") || lower.contains("invalid password") {
                    Trouble::Login { address, why: said }
                } else if unsupported {
                    Trouble::Unsupported(detail.to_owned())
                } else {
                    Trouble::Server(said)
                }
            }
        }
    }

    /// Whether the connection is of no use any more.
    pub fn is_connection(&self) -> bool {
        matches!(self, Trouble::Unreachable { .. } | Trouble::TimedOut { .. })
    }

    /// Whether asking the same again in a moment, perhaps of another node, can help.
    pub fn may_pass(&self) -> bool {
        self.is_connection() || matches!(self, Trouble::NotReady { .. } | Trouble::ReadOnly | Trouble::Moved(_))
    }
}

impl From<&Trouble> for Failure {
    fn from(trouble: &Trouble) -> Self {
        match trouble {
            Trouble::Unreachable { .. } | Trouble::TimedOut { .. } => {
                Failure::critical(format!("no connection to {trouble}"))
                    .hint("check that the server runs, the address in --url or REDIS_URL, and the network")
            }
            Trouble::NotReady { .. } => Failure::critical(trouble.to_string()),
            Trouble::Login { .. } => Failure::usage(trouble.to_string())
                .hint("put the user and password into REDIS_URL, or the password into REDISCLI_AUTH or password_file"),
            Trouble::Denied(_) => {
                Failure::usage(trouble.to_string()).hint("grant the command to the user with ACL SETUSER")
            }
            Trouble::ReadOnly => Failure::usage(format!("{trouble}; nothing was changed"))
                .hint("give the address of the primary, or --sentinel NAME to have it found"),
            _ => Failure::new(Exit::Unknown, trouble.to_string()),
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Failure::from(&trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: &str, detail: &str) -> Trouble {
        Trouble::server(code, detail, &Arc::from("h:1"))
    }

    #[test]
    fn a_missing_privilege_is_not_a_missing_command() {
        assert!(matches!(told("NOPERM", "this user has no permissions to run the 'info' command"), Trouble::Denied(_)));
        assert!(matches!(told("ERR", "unknown command 'FOO', with args"), Trouble::Unsupported(_)));
        assert!(matches!(told("ERR", "wrong number of arguments for 'expire' command"), Trouble::Unsupported(_)));
        assert!(matches!(told("ERR", "value is out of range"), Trouble::Server(_)));
        let in_script = "The user executing the script can't run this command or subcommand script: 1a";
        assert!(matches!(told("ERR", in_script), Trouble::Denied(_)));
        assert!(matches!(told("ERR", "ACL failure in script: User u has no permissions"), Trouble::Denied(_)));
    }

    #[test]
    fn what_may_pass_is_told_from_what_stays() {
        for code in ["LOADING", "CLUSTERDOWN", "READONLY", "MOVED", "MASTERDOWN"] {
            assert!(told(code, "x").may_pass(), "{code}");
        }
        for code in ["NOPERM", "NOAUTH", "WRONGTYPE"] {
            assert!(!told(code, "x").may_pass(), "{code}");
        }
    }

    #[test]
    fn a_server_that_is_down_is_critical_and_a_refused_login_is_unknown() {
        let down = Trouble::Unreachable { address: "h:1".into(), why: "refused".into() };
        assert_eq!(Failure::from(&down).exit, Exit::Critical);
        assert_eq!(Failure::from(&told("NOAUTH", "Authentication required.")).exit, Exit::Unknown);
    }
}
