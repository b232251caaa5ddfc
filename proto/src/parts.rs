//! Long messages in parts: what would be longer than a part goes over the wire as slices of its bytes, in order.

/// Most bytes of a part.
pub const PART_BYTES: usize = 1 << 20;

/// Cuts bytes into parts, each with whether it is the last. No bytes are one empty part.
pub fn cut(bytes: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let parts = bytes.len().div_ceil(PART_BYTES).max(1);
    let slice = move |part: usize| {
        let begin = part.saturating_mul(PART_BYTES);
        let end = begin.saturating_add(PART_BYTES).min(bytes.len());
        (bytes.get(begin..end).unwrap_or_default(), part.saturating_add(1) == parts)
    };
    (0..parts).map(slice)
}

/// More bytes came than are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message in parts has more than the {most} bytes that are taken")]
pub struct TooLong {
    /// The bytes that are taken.
    pub most: usize,
}

/// Parts that came so far.
#[derive(Clone, Debug, Default)]
pub struct Joined {
    bytes: Vec<u8>,
}

impl Joined {
    /// Adds a part; the whole, if it was the last.
    pub fn push(&mut self, part: &[u8], last: bool, most: usize) -> Result<Option<Vec<u8>>, TooLong> {
        if self.bytes.len().saturating_add(part.len()) > most {
            self.bytes = Vec::new();
            return Err(TooLong { most });
        }
        self.bytes.extend_from_slice(part);
        Ok(last.then(|| std::mem::take(&mut self.bytes)))
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Is nothing there yet?
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_cut_is_joined_again() {
        for length in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES] {
            let bytes: Vec<u8> = (0..length).map(|place| place as u8).collect();
            let mut joined = Joined::default();
            let mut whole = None;
            for (part, last) in cut(&bytes) {
                assert!(part.len() <= PART_BYTES && whole.is_none());
                whole = joined.push(part, last, usize::MAX).unwrap();
            }
            assert_eq!(whole.as_ref(), Some(&bytes), "{length}");
            assert!(joined.is_empty());
        }
    }

    #[test]
    fn too_much_is_refused() {
        let mut joined = Joined::default();
        assert_eq!(joined.push(&[1, 2], false, 3), Ok(None));
        assert_eq!(joined.push(&[3, 4], true, 3), Err(TooLong { most: 3 }));
        assert!(joined.is_empty());
    }
}
