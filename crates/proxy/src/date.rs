//! When an answer was made, for those that do not say it themselves (RFC 9110 §6.6.1).

use std::{cell::Cell, time::SystemTime};

use httpdate::HttpDate;

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) type Text = [u8; 29];

/// The time of one thread as HTTP writes it. Written once a second: answers only copy it.
#[derive(Debug)]
pub(crate) struct Date {
    text: Cell<Text>,
    /// In milliseconds of the thread's clock.
    good_until_ms: Cell<u64>,
}

impl Default for Date {
    fn default() -> Self {
        Self { text: Cell::new([b' '; 29]), good_until_ms: Cell::new(0) }
    }
}

impl Date {
    /// The time. `now_ms`: of the thread's clock, which tells when it must be written again.
    #[inline]
    pub(crate) fn text(&self, now_ms: u64) -> Text {
        if now_ms >= self.good_until_ms.get() {
            self.write(SystemTime::now(), now_ms);
        }
        self.text.get()
    }

    #[cold]
    fn write(&self, now: SystemTime, now_ms: u64) {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let text = HttpDate::from(SystemTime::UNIX_EPOCH + since_epoch).to_string();
        if let Ok(text) = text.as_bytes().try_into() {
            self.text.set(text);
        }
        self.good_until_ms.set(now_ms + 1000 - u64::from(since_epoch.subsec_millis()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_is_said_in_the_one_form_of_today_and_again_when_the_second_is_over() {
        let (date, at) = (Date::default(), SystemTime::UNIX_EPOCH);
        date.write(at + Duration::from_millis(784_111_777_400), 5_000);
        assert_eq!(&date.text(5_599), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_ne!(&date.text(5_600), b"Sun, 06 Nov 1994 08:49:37 GMT", "it is later now");
    }
}
