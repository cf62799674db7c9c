//! An authority of our own, and handshakes at every phase of its rollover.
