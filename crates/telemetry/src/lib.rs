//! Every metric, span and log name, its labels and their bounds, and the exporters.
