#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

/// Rows of the small table; the first is nobody's own.
const ROWS: u32 = 4;

/// A kernel: its words go with it, and the book on its disk does not.
struct Kernel {
    boot: u32,
    rows: BTreeMap<MeterIndex, MeterRow>,
    /// The book as it was last written.
    disk: Vec<u8>,
}

impl Kernel {
    fn table(&self) -> Table {
        Table { boot: self.boot.to_string(), id: 1 }
    }

    fn read(&self) -> impl FnMut(MeterIndex) -> Result<MeterRow, Infallible> + '_ {
        |index| Ok(self.rows.get(&index).copied().unwrap_or_default())
    }

    /// A packet of so many bytes of a network, which opens a connection.
    fn pass(&mut self, index: MeterIndex, place: usize, bytes: u64) {
        let meter = &mut self.rows.entry(index).or_default().places[place];
        (meter.packets, meter.bytes, meter.flows) = (meter.packets + 1, meter.bytes + bytes, meter.flows + 1);
    }
}

fn network(index: u32) -> Metered {
    Metered { network: format!("tenants/t/networks/n{index}"), index, tenant_index: 1 }
}

fn day(number: u32) -> Day {
    Day::from_number(20_000 + number)
}

/// All that stands in a book, by network and place.
fn sums(book: &Book) -> BTreeMap<(u32, usize), u64> {
    let mut sums = BTreeMap::new();
    for record in book.after(0) {
        for (place, count) in record.counts.iter().enumerate().filter(|(_, count)| !count.is_nothing()) {
            *sums.entry((record.of.index, place)).or_default() += count.bytes;
        }
    }
    sums
}

#[derive(Clone, Debug)]
enum Event {
    /// A packet of a network, if it has a row.
    Packet { network: u32, place: usize, bytes: u64 },
    /// The book is read and written.
    Fold,
    /// The agent is killed and begins anew by what is on the disk.
    Killed,
    /// The machine is.
    Reset,
    /// The host holds these networks.
    Holds(Vec<u32>),
    /// A day begins.
    Day,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1..6_u32, 1..8_usize, 1..2_000_u64).prop_map(|(network, place, bytes)| Event::Packet { network, place, bytes }),
        4 => Just(Event::Fold),
        1 => Just(Event::Killed),
        1 => Just(Event::Reset),
        2 => prop::collection::vec(1..6_u32, 0..4).prop_map(Event::Holds),
        1 => Just(Event::Day),
    ]
}

proptest! {
    /// Whatever happens, in whatever order: what passed stands in the book once, except for what came after the last writing before a
    /// machine was reset; and nothing that stood there is less afterwards.
    #[test]
    fn everything_is_counted_once(events in prop::collection::vec(event(), 0..120)) {
        let mut kernel = Kernel { boot: 1, rows: BTreeMap::new(), disk: Vec::new() };
        let mut book = Book::new("book".to_owned());
        let write = |book: &Book, kernel: &mut Kernel| kernel.disk = serde_json::to_vec(book).unwrap();
        book.begin(kernel.table(), ROWS, kernel.read()).unwrap();
        write(&book, &mut kernel);
        let (mut today, mut seats) = (0, Seats::new());
        // What passed, and of that what is on the disk for sure.
        let (mut passed, mut kept): (BTreeMap<(u32, usize), u64>, _) = (BTreeMap::new(), BTreeMap::new());
        for event in events.into_iter().chain([Event::Fold]) {
            let before = sums(&book);
            match event {
                Event::Packet { network, place, bytes } => {
                    if let Some(index) = seats.get(&network) {
                        kernel.pass(*index, place, bytes);
                        *passed.entry((network, place)).or_default() += bytes;
                    }
                }
                Event::Fold => {
                    book.fold(day(today), kernel.read()).unwrap();
                    write(&book, &mut kernel);
                    kept = passed.clone();
                }
                Event::Killed | Event::Reset => {
                    if matches!(event, Event::Reset) {
                        (kernel.boot, kernel.rows) = (kernel.boot + 1, BTreeMap::new());
                        passed = kept.clone();
                    }
                    book = serde_json::from_slice(&kernel.disk).unwrap();
                    book.begin(kernel.table(), ROWS, kernel.read()).unwrap();
                }
                Event::Holds(networks) => {
                    let networks: BTreeSet<u32> = networks.into_iter().collect();
                    let networks: Vec<Metered> = networks.into_iter().map(network).collect();
                    seats = book.seat(&networks, &BTreeSet::new(), ROWS).0;
                    let rows: BTreeSet<_> = seats.values().collect();
                    prop_assert!(rows.len() == seats.len() && !rows.contains(&0), "a row is of one network: {seats:?}");
                    write(&book, &mut kernel);
                }
                Event::Day => today += 1,
            }
            let after = sums(&book);
            prop_assert!(before.iter().all(|(key, sum)| after.get(key) >= Some(sum)), "{before:?} {after:?}");
        }
        prop_assert_eq!(sums(&book), passed);
    }
}

#[test]
fn a_network_that_came_to_no_row_gets_one_when_another_has_left() {
    let mut book = Book::new("book".to_owned());
    let kernel = Kernel { boot: 1, rows: BTreeMap::new(), disk: Vec::new() };
    let of = |book: &mut Book, networks: &[u32], in_use: &[MeterIndex]| {
        let networks: Vec<Metered> = networks.iter().copied().map(network).collect();
        let (seats, without, _) = book.seat(&networks, &in_use.iter().copied().collect(), ROWS);
        (seats, without)
    };
    assert_eq!(of(&mut book, &[1, 2, 3, 4], &[]), ([(1, 1), (2, 2), (3, 3)].into(), 1));
    for _ in 0..4 {
        assert_eq!(of(&mut book, &[2, 3, 4], &[1]), ([(1, 1), (2, 2), (3, 3)].into(), 1), "a row still says so");
        book.fold(day(1), kernel.read()).unwrap();
    }
    assert_eq!(of(&mut book, &[2, 3, 4], &[]), ([(2, 2), (3, 3)].into(), 1), "it is yet to be read");
    for _ in 0..QUIET {
        book.fold(day(1), kernel.read()).unwrap();
    }
    assert_eq!(of(&mut book, &[2, 3, 4], &[]), ([(2, 2), (3, 3), (4, 1)].into(), 0));
}

#[test]
fn what_a_controller_has_is_told_no_more_and_goes_with_its_day() {
    let mut book = Book::new("book".to_owned());
    let mut kernel = Kernel { boot: 1, rows: BTreeMap::new(), disk: Vec::new() };
    book.begin(kernel.table(), ROWS, kernel.read()).unwrap();
    book.seat(&[network(1)], &BTreeSet::new(), ROWS);
    for number in 0..3 {
        kernel.pass(1, 1, 100);
        book.fold(day(number), kernel.read()).unwrap();
    }
    let told = |book: &Book, after| book.after(after).map(|record| record.day).collect::<Vec<_>>();
    assert_eq!(told(&book, 0), [day(0), day(1), day(2)]);
    assert_eq!((told(&book, 2), told(&book, 3)), (vec![day(2)], vec![]));
    assert_eq!(book.forget(1, day(9)), 0);
    assert_eq!(told(&book, 0), [day(1), day(2)], "that of the first day went");
    assert_eq!(book.forget(3, day(3)), 0);
    assert_eq!(told(&book, 0), [day(1), day(2)], "the last days stay for a controller that was set back");
}

#[test]
fn a_book_that_knows_of_no_table_begins_with_what_is_there() {
    let mut kernel = Kernel { boot: 1, rows: BTreeMap::new(), disk: Vec::new() };
    kernel.pass(1, 1, 100);
    let mut book = Book::new("book".to_owned());
    book.begin(kernel.table(), ROWS, kernel.read()).unwrap();
    book.seat(&[network(1)], &BTreeSet::new(), ROWS);
    kernel.pass(1, 1, 7);
    book.fold(day(1), kernel.read()).unwrap();
    assert_eq!(sums(&book), [((1, 1), 7)].into());
}
