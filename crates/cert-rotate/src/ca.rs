//! `ca`: authorities of our own.
//!
//! Roots sign authorities, those sign services, each within the names that its own certificate permits. Nothing is given
//! away that is not in the [`ledger`] before; one run signs at a time.
//!
//! - [`store`] is the directory, [`seal`] how keys lie in it, [`ledger`] what was issued;
//! - [`constraints`] are names and what may be certified, [`request`] reads what is to be signed, [`mint`] makes
//!   certificates;
//! - [`create`], [`issue`], [`revoke`], [`pair`] and [`list`] are the commands, [`rollover`] leads from one authority to the
//!   next.

pub mod constraints;
pub mod create;
pub mod issue;
pub mod ledger;
pub mod list;
pub mod mint;
pub mod pair;
pub mod request;
pub mod revoke;
pub mod rollover;
pub mod seal;
pub mod store;

use maint_core::failure::Failure;

use crate::cli::CaAction;
use crate::work::Work;

pub use issue::obtain;

/// Runs one of the commands.
///
/// # Errors
/// Theirs.
pub fn run(action: &CaAction, work: &mut Work<'_>) -> Result<(), Failure> {
    match action {
        CaAction::Init(args) => create::init(args, work),
        CaAction::Intermediate(args) => create::intermediate(args, work),
        CaAction::CrossSign(args) => create::cross_sign(args, work),
        CaAction::Sign(args) => issue::sign(args, work),
        CaAction::Revoke(args) => revoke::revoke(args, work),
        CaAction::Crl(args) => revoke::crl(args, work),
        CaAction::MtlsPair(args) => pair::run(args, work),
        CaAction::List { directory } => list::list(directory, work),
        CaAction::Show { directory, what } => list::show(directory, what, work),
        CaAction::Rollover { action } => rollover::run(action, work),
    }
}
