//! The fields that the other side has had us remember, the newest first.

use std::collections::VecDeque;

/// What an entry counts beside its text (RFC 7541 §4.1).
const ENTRY_BYTES: usize = 32;

/// A dynamic table. Its texts lie one behind the other in memory twice its size: whole runs of them are moved to the
/// front when the end is reached.
#[derive(Debug)]
pub(super) struct Table {
    bytes_max: usize,
    /// As the standard counts.
    bytes: usize,
    memory: Vec<u8>,
    /// Where the oldest entry's text begins.
    start: usize,
    entries: VecDeque<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    name_bytes: u32,
    value_bytes: u32,
}

impl Entry {
    fn bytes(&self) -> usize {
        (self.name_bytes + self.value_bytes) as usize + ENTRY_BYTES
    }
}

impl Table {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, memory: Vec::new(), start: 0, entries: VecDeque::new() }
    }

    /// The field at an index from 0 on.
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(index)?;
        let text = &self.memory[entry.start as usize..];
        let (name, rest) = text.split_at(entry.name_bytes as usize);
        Some((name, &rest[..entry.value_bytes as usize]))
    }

    /// Forgets the oldest until `bytes_max` are enough.
    pub(super) fn resize(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.evict(bytes_max);
    }

    /// Remembers a field. One that is larger than the table empties it (§4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let entry_bytes = name.len() + value.len() + ENTRY_BYTES;
        self.evict(self.bytes_max.saturating_sub(entry_bytes));
        if entry_bytes > self.bytes_max {
            return;
        }
        if self.memory.len() + name.len() + value.len() > self.bytes_max * 2 {
            self.move_to_front();
        }
        self.entries.push_front(Entry {
            start: self.memory.len() as u32,
            name_bytes: name.len() as u32,
            value_bytes: value.len() as u32,
        });
        self.memory.extend_from_slice(name);
        self.memory.extend_from_slice(value);
        self.bytes += entry_bytes;
    }

    fn evict(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.bytes -= oldest.bytes();
            self.start = (oldest.start + oldest.name_bytes + oldest.value_bytes) as usize;
        }
        if self.entries.is_empty() {
            self.memory.clear();
            self.start = 0;
        }
    }

    fn move_to_front(&mut self) {
        self.memory.drain(..self.start);
        for entry in &mut self.entries {
            entry.start -= self.start as u32;
        }
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_texts_survive_being_moved() {
        let mut table = Table::new(200);
        for number in 0..1000 {
            let (name, value) = (format!("name-{number}"), format!("value-{number}"));
            table.insert(name.as_bytes(), value.as_bytes());
            let (latest, _) = table.get(0).unwrap();
            assert_eq!(latest, name.as_bytes());
            if number >= 10 {
                let before = format!("value-{}", number - 1);
                assert_eq!(table.get(1).unwrap().1, before.as_bytes());
                assert!(table.get(4).is_none(), "200 bytes hold three such fields");
            }
            assert!(table.bytes <= 200 && table.memory.len() <= 400);
        }
    }

    #[test]
    fn a_field_larger_than_the_table_empties_it() {
        let mut table = Table::new(100);
        table.insert(b"a", b"b");
        table.insert(b"large", &[b'x'; 100]);
        assert!(table.get(0).is_none());
        table.insert(b"a", b"b");
        assert_eq!(table.get(0), Some((&b"a"[..], &b"b"[..])));
        table.resize(0);
        assert!(table.get(0).is_none());
        table.insert(b"a", b"b");
        assert!(table.get(0).is_none());
    }
}
