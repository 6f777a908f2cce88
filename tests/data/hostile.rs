//! Files made to hurt: no mutation of an IDX file makes the reader panic, or take more memory than the file earns.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use foldgrad::data::idx;
use proptest::prelude::*;

/// The system's allocator, which counts what each thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn count(taken: usize, freed: usize) {
    // A thread that ends still frees, after its counters are gone.
    let _ = HELD.try_with(|held| {
        held.set((held.get() + taken).saturating_sub(freed));
        PEAK.with(|peak| peak.set(peak.get().max(held.get())));
    });
}

#[allow(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: each call is handed to `System` as it is; only counters are touched beside it, which do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's promise about `pointer` and `layout` is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new block may exist at once.
        count(size, 0);
        count(0, layout.size());
        // SAFETY: the caller's promise about `pointer`, `layout` and `size` is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `run` held at once beyond what there was before.
fn peak_of(run: impl FnOnce()) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    run();
    PEAK.get().saturating_sub(before)
}

fn image_file(count: u32, rows: u32, cols: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3];
    bytes.extend([count, rows, cols].iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads `bytes` as images and as labels, and returns the peak.
fn read_both(bytes: &[u8]) -> usize {
    peak_of(|| {
        if let Ok(images) = idx::images_from(bytes, "x") {
            assert_eq!(images.pixels.len(), images.count * images.rows * images.cols);
        }
        drop(idx::labels_from(bytes, "x"));
    })
}

const MIB: usize = 1 << 20;

#[test]
fn a_promise_costs_nothing() {
    for sizes in [[1 << 20, 28, 28], [u32::MAX, 1, 1], [1 << 30, 1, 1], [u32::MAX; 3]] {
        let bytes = image_file(sizes[0], sizes[1], sizes[2], &[7; 100]);
        for bytes in [gzip(&bytes), bytes] {
            let peak = read_both(&bytes);
            assert!(peak < 2 * MIB, "{sizes:?}: {peak} bytes");
        }
    }
}

#[test]
fn a_gzip_bomb_is_not_unpacked() {
    // 64 MiB of zeros behind a header that promises 784 bytes.
    let bomb = gzip(&image_file(1, 28, 28, &vec![0; 64 * MIB]));
    assert!(bomb.len() < MIB);
    let peak = read_both(&bomb);
    assert!(peak < 2 * MIB, "{peak} bytes");
}

#[derive(Debug, Clone)]
enum Damage {
    Truncate(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Size(usize, u32),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Damage::Truncate),
        (any::<prop::sample::Index>(), 1..=255_u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (0..3_usize, any::<u32>()).prop_map(|(size, value)| Damage::Size(size, value)),
    ]
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>) {
    match damage {
        Damage::Truncate(at) => bytes.truncate(at.index(bytes.len() + 1)),
        Damage::Flip(at, bits) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        Damage::Insert(at, new) => {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, new.iter().copied());
        }
        Damage::Size(size, value) => {
            if let Some(field) = bytes.get_mut(4 + 4 * size..8 + 4 * size) {
                field.copy_from_slice(&value.to_be_bytes());
            }
        }
        Damage::Flip(..) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn damaged_files_are_refused_in_peace(
        data in prop::collection::vec(any::<u8>(), 24..400),
        inside in prop::collection::vec(damage(), 0..3),
        outside in prop::collection::vec(damage(), 0..3),
        packed in any::<bool>(),
    ) {
        let data = &data[..data.len() / 12 * 12];
        let mut bytes = image_file((data.len() / 12) as u32, 3, 4, data);
        for damage in &inside {
            apply(damage, &mut bytes);
        }
        if packed {
            bytes = gzip(&bytes);
        }
        for damage in &outside {
            apply(damage, &mut bytes);
        }
        // Deflate unpacks to at most 1032 times its length; the buffer doubles, and is copied once.
        let earned = bytes.len() * if packed { 3 * 1032 } else { 3 };
        let peak = read_both(&bytes);
        prop_assert!(peak < 2 * MIB + earned, "{} bytes for a file of {}", peak, bytes.len());
    }

    #[test]
    fn rubbish_is_refused_in_peace(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read_both(&bytes) < 2 * MIB);
        let packed = [&[0x1f, 0x8b, 8][..], &bytes].concat();
        prop_assert!(read_both(&packed) < 2 * MIB);
    }
}
