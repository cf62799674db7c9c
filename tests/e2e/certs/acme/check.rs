//! What is due: files, directories, names, servers.
