//! The reply of INFO.
