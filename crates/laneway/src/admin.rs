//! Health, metrics and the log level of a running process.
