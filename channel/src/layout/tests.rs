//! Areas never overlap, and a directory full of noise is harmless.

use super::*;
use crate::memory::private_region;
use proptest::prelude::*;

/// Every area of a layout as (offset, length) in a region.
fn areas(layout: &Layout, region: &SharedRegion) -> Vec<(usize, usize)> {
    let base = region.slice(0, 0).expect("empty").as_ptr().addr();
    let at = |bytes: SharedBytes<'_>| (bytes.as_ptr().addr() - base, bytes.len());
    let mut areas = vec![(0, layout.directory_pages() * PAGE_SIZE)];
    for ring in [layout.guest_to_dom0(region), layout.dom0_to_guest(region)] {
        for slot in 0..crate::ring::ENTRIES {
            areas.push(at(ring.entry(slot)));
        }
        for index in [ring.producer, ring.consumer] {
            assert!(index + 4 <= REFERENCES_AT);
        }
    }
    for slot in 0..layout.slots() {
        areas.push(at(layout.payload(region, slot)));
        areas.push(at(layout.table(region, slot)));
    }
    areas
}

fn assert_sound(layout: &Layout, region: &SharedRegion) {
    let mut areas = areas(layout, region);
    areas.sort_unstable();
    for pair in areas.windows(2) {
        assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?} overlap");
    }
    let last = areas.last().expect("some");
    assert!(last.0 + last.1 <= region.len(), "{last:?} out of bounds");
    assert!(layout.payload_size() >= PAGE_SIZE);
    assert!(layout.table_extents() >= layout.payload_size() / PAGE_SIZE);
    let references_end = reference_at(layout.pages() - 1) + 4;
    assert!(references_end <= layout.directory_pages() * PAGE_SIZE);
}

fn format(pages: usize) -> (SharedRegion, Layout, Vec<u32>) {
    let region = private_region(pages * PAGE_SIZE);
    let references: Vec<u32> = (0..pages as u32)
        .map(|i| i.wrapping_mul(0x9e37_79b9))
        .collect();
    let layout = Layout::format(&region, &references);
    (region, layout, references)
}

#[test]
fn every_small_and_every_border_page_count_gives_disjoint_areas() {
    let borders = [
        895,
        896,
        897,
        898,
        1920,
        1921,
        1922,
        4200,
        12455,
        MAX_PAGES - 1,
        MAX_PAGES,
    ];
    for pages in (MIN_PAGES..600).chain(borders) {
        let (region, layout, references) = format(pages);
        assert_sound(&layout, &region);
        assert_eq!(Layout::read(&region, pages), Ok(layout));
        assert_eq!(layout.references(&region), references[1..]);
    }
}

/// Overwrites the words of a directory with small or arbitrary values.
fn noise() -> impl Strategy<Value = Vec<(usize, u32)>> {
    let word = prop_oneof![0..20usize, 0..PAGE_SIZE / 4];
    let value = prop_oneof![0..300u32, any::<u32>(), Just(u32::MAX), Just(1 << 31)];
    prop::collection::vec((word, value), 1..12)
}

proptest! {
    #[test]
    fn any_page_count_gives_disjoint_areas(pages in MIN_PAGES..5000) {
        let (region, layout, _) = format(pages);
        assert_sound(&layout, &region);
        prop_assert_eq!(Layout::read(&region, pages), Ok(layout));
    }

    /// A directory with noise in it is refused, or describes areas as sound as an honest one's.
    #[test]
    fn a_noisy_directory_is_refused_or_sound(pages in MIN_PAGES..400, claimed in any::<u32>(), noise in noise(),
                                             keep_magic in any::<bool>()) {
        let (region, honest, _) = format(pages);
        for (word, value) in noise {
            if !keep_magic || word >= 2 {
                region.store(word * 4, value, Ordering::Relaxed);
            }
        }
        if let Ok(layout) = Layout::read(&region, pages) {
            prop_assert_eq!((layout.pages(), layout.directory_pages()), (honest.pages(), honest.directory_pages()));
            assert_sound(&layout, &region);
            prop_assert_eq!(layout.references(&region).len(), pages - 1);
        }
        // What the rendezvous claims may be anything, too; only the first page is mapped by then.
        let first = private_region(PAGE_SIZE);
        let mut page = vec![0; PAGE_SIZE];
        region.slice(0, PAGE_SIZE).unwrap().read(&mut page);
        first.slice(0, PAGE_SIZE).unwrap().write(&page);
        if let Ok(layout) = Layout::read(&first, claimed as usize) {
            prop_assert_eq!(layout.pages(), claimed as usize);
            prop_assert!(layout.references(&first).len() <= REFERENCES_IN_FIRST);
        }
    }

    /// Arbitrary bytes from the first to the last.
    #[test]
    fn pure_noise_is_refused(bytes in prop::collection::vec(any::<u8>(), PAGE_SIZE), pages in any::<usize>()) {
        prop_assume!(&bytes[..8] != MAGIC);
        let region = private_region(PAGE_SIZE);
        region.slice(0, PAGE_SIZE).unwrap().write(&bytes);
        prop_assert!(Layout::read(&region, pages).is_err());
    }

    /// After validation the directory is never looked at again.
    #[test]
    fn a_directory_changed_later_changes_nothing(pages in MIN_PAGES..400, noise in noise()) {
        let (region, _, _) = format(pages);
        let layout = Layout::read(&region, pages).unwrap();
        let before = (layout, areas(&layout, &region));
        for (word, value) in noise {
            region.store(word * 4, value, Ordering::Relaxed);
        }
        prop_assert_eq!((layout, areas(&layout, &region)), before);
    }
}

#[test]
fn each_field_has_its_error() {
    let change = |at: usize, value: u32| {
        let (region, _, _) = format(40);
        region.store(at, value, Ordering::Relaxed);
        Layout::read(&region, 40)
    };
    assert!(matches!(change(0, 1), Err(LayoutError::Magic(_))));
    assert_eq!(change(VERSION_AT, 2), Err(LayoutError::Version(2)));
    for (at, field, values) in [
        (PAGES_AT, "pages", [0, 39, 41, u32::MAX]),
        (DIRECTORY_PAGES_AT, "directory pages", [0, 2, 40, u32::MAX]),
        (SLOTS_AT, "slots", [0, 49, 50, u32::MAX]),
        (SLOT_PAGES_AT, "pages per slot", [0, 1, 260, u32::MAX]),
    ] {
        for value in values {
            let pages = 40;
            assert_eq!(
                change(at, value),
                Err(LayoutError::Field {
                    field,
                    value,
                    pages
                })
            );
        }
    }
}
