//! The plain programs that the benchmark runs beside proxies: one thread, one epoll, nothing else, so that
//! their own cost is as near to the kernel's as it gets.

pub mod h2;
pub mod poll;
