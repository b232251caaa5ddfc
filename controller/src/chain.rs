//! The chain of commits: each record has the sum of the record before it, so that none can be changed or taken out without
//! changing all that came after. Whoever remembers one sum can check all that led to it.

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::{
    record::{Linked, Record},
    store::{Store, StoreError},
};

/// Commits that are read from the store at once.
const STEP: usize = 256;

/// Where the chain ends.
#[derive(Debug, Default)]
pub struct Chain {
    /// Sum of the last record; empty before the first.
    last: Vec<u8>,
}

fn sum(record: &[u8]) -> Vec<u8> {
    Sha256::digest(record).to_vec()
}

impl Chain {
    /// The end of the chain in a store.
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        let last = store.head()?.number;
        if last < store.first()? {
            return Ok(Self::default());
        }
        let entries = store.read(last.saturating_sub(1), 1)?;
        Ok(Self { last: entries.first().map(|(_, bytes)| sum(bytes)).unwrap_or_default() })
    }

    /// Links a record to those before it, and encodes it.
    pub fn link(&mut self, mut record: Record) -> Vec<u8> {
        record.previous = std::mem::take(&mut self.last);
        let bytes = record.encode_to_vec();
        self.last = sum(&bytes);
        bytes
    }
}

/// What a look at every commit that is kept found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Revision of the first that is kept, and how many there are.
    pub first: u64,
    /// How many there are.
    pub commits: u64,
    /// Sum of the last one.
    pub last: Vec<u8>,
    /// Sum of the one that was asked for; empty: it is not kept.
    pub asked: Vec<u8>,
    /// The first that does not follow from the one before it.
    pub broken: Option<u64>,
}

/// Looks at every commit that is kept.
pub fn verify(store: &Store, asked: u64) -> Result<Verified, StoreError> {
    let mut verified = Verified { first: store.first()?, ..Verified::default() };
    let mut after = verified.first.saturating_sub(1);
    let mut linked = false;
    loop {
        let entries = store.read(after, STEP)?;
        if entries.is_empty() {
            return Ok(verified);
        }
        for (number, bytes) in entries {
            let previous = Linked::decode(bytes.as_slice()).map(|it| (it.revision, it.previous)).ok();
            // Records of the time before there was a chain have no sum; none comes after one that has.
            let fits = previous.is_some_and(|(revision, previous)| {
                let follows = verified.commits == 0 || previous == verified.last || (previous.is_empty() && !linked);
                linked |= !previous.is_empty();
                follows && revision == number
            });
            if !fits && verified.broken.is_none() {
                verified.broken = Some(number);
            }
            verified.commits = verified.commits.saturating_add(1);
            verified.last = sum(&bytes);
            if number == asked {
                verified.asked.clone_from(&verified.last);
            }
            after = number;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn records(count: u64) -> Vec<Vec<u8>> {
        let mut chain = Chain::default();
        let record = |revision| Record { revision, principal: "operator/o".to_owned(), ..Record::default() };
        (1..=count).map(|revision| chain.link(record(revision))).collect()
    }

    fn verified(records: &[Vec<u8>], asked: u64) -> Verified {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let head = store.head().unwrap();
        store.append(head, records).unwrap();
        verify(&store, asked).unwrap()
    }

    #[test]
    fn a_record_that_is_changed_taken_out_or_put_in_is_found() {
        let good = records(600);
        let whole = verified(&good, 300);
        assert_eq!((whole.first, whole.commits, whole.broken), (1, 600, None));
        assert_eq!((&whole.last, &whole.asked), (&sum(&good[599]), &sum(&good[299])));

        let mut changed = good.clone();
        let mut record = Record::decode(changed[299].as_slice()).unwrap();
        record.principal = "operator/nobody".to_owned();
        changed[299] = record.encode_to_vec();
        assert_eq!(verified(&changed, 0).broken, Some(301));

        let mut removed = good.clone();
        removed.remove(299);
        assert_eq!(verified(&removed, 0).broken, Some(300));

        let mut inserted = good.clone();
        inserted.insert(299, Record { revision: 300, ..Record::default() }.encode_to_vec());
        assert_eq!(verified(&inserted, 0).broken, Some(300));

        let mut swapped = good.clone();
        swapped.swap(298, 299);
        assert_eq!(verified(&swapped, 0).broken, Some(299));

        // All that came after made anew: then it leads to another sum than the one that somebody remembers.
        let mut chain = Chain { last: sum(&changed[299]) };
        for bytes in &mut changed[300..] {
            *bytes = chain.link(Record::decode(bytes.as_slice()).unwrap());
        }
        let forged = verified(&changed, 500);
        assert_eq!(forged.broken, None);
        assert!(forged.asked != verified(&good, 500).asked);
    }

    #[test]
    fn a_chain_begins_where_records_had_none() {
        let plain = |revision| Record { revision, ..Record::default() }.encode_to_vec();
        let mut log = vec![plain(1), plain(2)];
        let mut chain = Chain { last: sum(&log[1]) };
        log.push(chain.link(Record { revision: 3, ..Record::default() }));
        assert_eq!(verified(&log, 0).broken, None);
        log.push(plain(4));
        assert_eq!(verified(&log, 0).broken, Some(4));
        log[1] = Record { revision: 2, principal: "x".to_owned(), ..Record::default() }.encode_to_vec();
        assert_eq!(verified(&log, 0).broken, Some(3));
    }
}
