//! Where instances come from: the embedded registry, static lists. Streams of endpoint sets; knows no rules.
