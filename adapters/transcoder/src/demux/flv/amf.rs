//! `onMetaData`, in the Action Message Format (AMF 0, Adobe 2007; E.5).

use crate::tags::{Key, Tags};

/// Objects within objects beyond which nothing is read.
const DEEPEST: u32 = 8;

struct Reader<'b>(&'b [u8]);

/// A value, of which only two kinds are of interest.
enum Value<'b> {
    Number(f64),
    Text(&'b [u8]),
    Other,
}

/// The duration in seconds that a script tag tells; titles go into `tags`.
pub(super) fn metadata(body: &[u8], tags: &mut Tags) -> Option<f64> {
    let mut reader = Reader(body);
    let mut duration = None;
    let Some(Value::Text(b"onMetaData")) = reader.value(0) else { return None };
    reader.object(&mut |key, value| match value {
        Value::Number(seconds) if key == b"duration" && seconds.is_finite() && seconds > 0.0 => {
            duration = Some(seconds);
        }
        Value::Text(text) => {
            let text = String::from_utf8_lossy(text);
            match key {
                b"title" => tags.set(Key::Title, &text),
                b"artist" => tags.set(Key::Artist, &text),
                b"album" => tags.set(Key::Album, &text),
                b"date" => tags.set(Key::Date, &text),
                _ => {}
            }
        }
        _ => {}
    });
    duration
}

impl<'b> Reader<'b> {
    fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.first_chunk().copied()
    }

    /// A text behind its length of two bytes.
    fn text(&mut self) -> Option<&'b [u8]> {
        let length = u16::from_be_bytes(self.array()?);
        self.bytes(length.into())
    }

    /// An object or an array with names, whose properties are handed on.
    fn object(&mut self, take: &mut dyn FnMut(&[u8], Value<'b>)) -> Option<()> {
        match self.array()? {
            [3] => {}
            [8] => {
                self.bytes(4)?;
            }
            _ => return None,
        }
        self.properties(0, take)
    }

    fn properties(&mut self, depth: u32, take: &mut dyn FnMut(&[u8], Value<'b>)) -> Option<()> {
        loop {
            let key = self.text()?;
            if key.is_empty() && self.0.first() == Some(&9) {
                self.bytes(1)?;
                return Some(());
            }
            let value = self.value(depth)?;
            take(key, value);
        }
    }

    /// A value of any kind; `None` if it is cut off or makes no sense.
    fn value(&mut self, depth: u32) -> Option<Value<'b>> {
        if depth > DEEPEST {
            return None;
        }
        let [kind] = self.array()?;
        match kind {
            0 => return Some(Value::Number(f64::from_be_bytes(self.array()?))),
            2 => return self.text().map(Value::Text),
            1 => drop(self.bytes(1)?),
            3 => self.properties(depth + 1, &mut |_, _| {})?,
            5 | 6 | 13 => {}
            7 => drop(self.bytes(2)?),
            8 => {
                self.bytes(4)?;
                self.properties(depth + 1, &mut |_, _| {})?;
            }
            // Each element is at least a byte, so that a false count comes to its end.
            10 => {
                for _ in 0..u32::from_be_bytes(self.array()?) {
                    self.value(depth + 1)?;
                }
            }
            11 => drop(self.bytes(10)?),
            12 => {
                let length = u32::from_be_bytes(self.array()?);
                return self.bytes(usize::try_from(length).ok()?).map(Value::Text);
            }
            _ => return None,
        }
        Some(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::metadata;
    use crate::tags::Tags;

    #[test]
    fn duration_and_title_are_found_among_the_rest() {
        let mut body = b"\x02\0\x0aonMetaData\x08\0\0\0\x04".to_vec();
        body.extend(b"\0\x09keyframes\x03\0\x05times\x0a\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x09");
        body.extend(b"\0\x08duration\0\x40\x04\0\0\0\0\0\0\0\x05title\x02\0\x04Song\0\0\x09");
        let mut tags = Tags::default();
        assert_eq!(metadata(&body, &mut tags), Some(2.5));
        assert_eq!(tags.title.as_deref(), Some("Song"));
        for cut in 0..body.len() {
            metadata(&body[..cut], &mut Tags::default());
        }
        let deep = [&b"\x02\0\x0aonMetaData\x03"[..], &b"\0\x01a\x03".repeat(100_000)].concat();
        assert_eq!(metadata(&deep, &mut Tags::default()), None);
    }
}
