//! validate, on files and on servers; PKITS.
