//! Boxes (ISO/IEC 14496-12, 4.2), found in the file and read where they lie.

use microserve_core::transcode::TranscodeError;

use crate::input::Input;

/// No more boxes in a box are looked at.
const MOST_CHILDREN: usize = 1000;

/// Where a box lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoxHead {
    pub(super) kind: [u8; 4],
    /// Where the box begins.
    pub(super) start: u64,
    /// Where its body begins…
    pub(super) body: u64,
    /// …and ends, at the latest where the box around it ends.
    pub(super) end: u64,
}

impl BoxHead {
    pub(super) fn len(&self) -> u64 {
        self.end - self.body
    }
}

/// The box that begins at a position; `None` when there is no room for one before `limit`, or its size makes no sense.
pub(super) fn box_at(input: &mut Input<'_>, at: u64, limit: u64) -> Result<Option<BoxHead>, TranscodeError> {
    if limit.saturating_sub(at) < 8 {
        return Ok(None);
    }
    let Some([s0, s1, s2, s3, k0, k1, k2, k3]) = input.array_at(at)? else { return Ok(None) };
    let (size, header) = match u32::from_be_bytes([s0, s1, s2, s3]) {
        0 => (limit - at, 8),
        1 => match input.array_at(at + 8)? {
            Some(size) => (u64::from_be_bytes(size), 16),
            None => return Ok(None),
        },
        size => (u64::from(size), 8),
    };
    let (body, end) = (at + header, at.saturating_add(size).min(limit));
    let head = BoxHead { kind: [k0, k1, k2, k3], start: at, body, end };
    Ok((size >= header && body <= end).then_some(head))
}

/// The boxes in a box.
pub(super) fn children(input: &mut Input<'_>, parent: &BoxHead) -> Result<Vec<BoxHead>, TranscodeError> {
    children_from(input, parent.body, parent.end)
}

/// The boxes between two positions.
pub(super) fn children_from(input: &mut Input<'_>, start: u64, end: u64) -> Result<Vec<BoxHead>, TranscodeError> {
    let (mut found, mut at) = (Vec::new(), start);
    while found.len() < MOST_CHILDREN
        && let Some(head) = box_at(input, at, end)?
    {
        at = head.end;
        found.push(head);
    }
    Ok(found)
}

/// The first box of a kind in a box.
pub(super) fn find(input: &mut Input<'_>, parent: &BoxHead, kind: &[u8; 4]) -> Result<Option<BoxHead>, TranscodeError> {
    Ok(children(input, parent)?.into_iter().find(|child| child.kind == *kind))
}

/// The box that a path of kinds leads to.
pub(super) fn find_path(
    input: &mut Input<'_>,
    parent: &BoxHead,
    path: &[&[u8; 4]],
) -> Result<Option<BoxHead>, TranscodeError> {
    let mut at = *parent;
    for kind in path {
        match find(input, &at, kind)? {
            Some(child) => at = child,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// A box within bytes that have been read: its kind and body, and what follows it.
pub(super) fn split(bytes: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let size = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let kind = bytes.get(4..8)?.try_into().ok()?;
    // Writers of QuickTime leave the last size zero, or a little too large.
    let size = if size == 0 { bytes.len() } else { size.min(bytes.len()) };
    (size >= 8).then(|| (kind, &bytes[8..size], &bytes[size..]))
}

/// The body of the first box of a kind in bytes that have been read.
pub(super) fn inner<'b>(mut bytes: &'b [u8], kind: &[u8; 4]) -> Option<&'b [u8]> {
    while let Some((found, body, rest)) = split(bytes) {
        if found == *kind {
            return Some(body);
        }
        bytes = rest;
    }
    None
}

/// A big-endian number in bytes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// A big-endian number in bytes.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// A big-endian number in bytes.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// A table of fixed-size rows in the file, looked up page by page.
#[derive(Clone, Default)]
pub(super) struct Table {
    at: u64,
    row: u64,
    pub(super) rows: u64,
    page: Vec<u8>,
    first_in_page: u64,
}

/// Rows are read this many bytes at a time; as large as the input's own window, which they leave alone.
const PAGE: u64 = 32 * 1024;

impl Table {
    /// The table that begins at `at` and has at most `rows` rows of `row` bytes before `end`.
    pub(super) fn new(at: u64, end: u64, rows: u64, row: u64) -> Self {
        let rows = rows.min(end.saturating_sub(at) / row);
        Self { at, row, rows, page: Vec::new(), first_in_page: 0 }
    }

    pub(super) fn row_size(&self) -> u64 {
        self.row
    }

    /// The bytes of a row; `None` behind the last, or where the file is cut off.
    pub(super) fn row<const N: usize>(
        &mut self,
        input: &mut Input<'_>,
        n: u64,
    ) -> Result<Option<[u8; N]>, TranscodeError> {
        if n >= self.rows {
            return Ok(None);
        }
        let per_page = PAGE / self.row;
        let in_page = n.checked_sub(self.first_in_page).filter(|k| (k + 1) * self.row <= self.page.len() as u64);
        let in_page = match in_page {
            Some(k) => k,
            None => {
                let rows = per_page.min(self.rows - n);
                self.page = input.vec_at(self.at + n * self.row, rows * self.row)?;
                self.first_in_page = n;
                0
            }
        };
        let start = usize::try_from(in_page * self.row).unwrap_or(usize::MAX);
        Ok(self.page.get(start..start.saturating_add(N)).and_then(|bytes| bytes.try_into().ok()))
    }
}
