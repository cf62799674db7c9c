//! PostgreSQL: where it is, a session on it, and what went wrong.
//!
//! The driver is sqlx. It lacks four things that maintenance cannot do without, and each has its module here, so that no
//! tool has to know about the gap: connection strings as libpq reads them ([`dsn`], [`pgpass`]), cancelling a statement
//! that runs ([`cancel`]), notices that belong to one session ([`notices`]), and errors sorted by what an operator does
//! about them ([`error`]).
//!
//! Everything is sent by the simple query protocol. Commands such as `VACUUM` are at home there, and a session keeps
//! working far enough behind a transaction pooler to find out that it is behind one ([`advisory`]).

pub mod advisory;
pub mod cancel;
pub mod connect;
pub mod dsn;
pub mod error;
pub mod ident;
pub mod notices;
pub mod pgpass;
pub mod server;

mod conninfo;

pub use connect::{Backend, Executed, Session, SessionSettings};
pub use dsn::Target;
pub use error::{Error, ServerReport, SlotLimit};
pub use ident::{Relation, quote_ident, quote_literal};
