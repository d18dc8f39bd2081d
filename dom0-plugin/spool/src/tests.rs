//! The spool against plain vectors, and what happens when space runs out.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use channel::image::{
    Batch, BatchBuilder, BatchLimits, BufferEntry, Digest, Extent, ExtentKind, MANIFEST_MINOR,
    MANIFEST_VERSION, Manifest, SessionId, SessionKey,
};
use proptest::prelude::*;

use super::*;
use stream::{ImageSink, Totals};

const UNLIMITED: u64 = u64::MAX;

fn spool(memory_bytes: u64, guest_bytes: u64) -> Spool {
    Spool::new(SpoolConfig {
        memory_bytes,
        dir: std::env::temp_dir(),
        guest_bytes,
    })
}

fn data(object: u64, size: u64, offset: u64, bytes: &[u8]) -> Extent {
    Extent::data(object, size, offset, bytes.len() as u32, Digest::of(bytes))
}

fn read(image: &Image, object: u64) -> Vec<u8> {
    let mut bytes = vec![0xAA; image.object_size(object).unwrap() as usize];
    image.read(object, 0, &mut bytes).unwrap();
    bytes
}

/// Sizes that end within, at and just over granules.
fn size_of_object(object: u64) -> u64 {
    [13, GRANULE, 3 * GRANULE + 5000, 2 * GRANULE + 1][object as usize]
}

#[derive(Clone, Debug)]
struct Step {
    object: u64,
    start: u64,
    len: u64,
    kind: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Ends near the borders of granules are the interesting ones.
    let near = (0..5u64, -3..4i64).prop_map(|(n, d)| (n * GRANULE).saturating_add_signed(d));
    let end = prop_oneof![near, 0..4 * GRANULE];
    let step = (0..4u64, end.clone(), end, 0..9u8).prop_map(|(object, a, b, kind)| {
        let size = size_of_object(object);
        let (a, b) = (a.min(size), b.min(size));
        Step {
            object,
            start: a.min(b),
            len: a.abs_diff(b),
            kind,
        }
    });
    prop::collection::vec(step, 1..40)
}

type Model = BTreeMap<u64, Vec<u8>>;

fn held(model: &mut Model, object: u64) -> &mut Vec<u8> {
    model
        .entry(object)
        .or_insert_with(|| vec![0; size_of_object(object) as usize])
}

fn perform(steps: &[Step], image: &mut Image, model: &mut Model) {
    for (n, step) in steps.iter().enumerate() {
        let Step {
            object,
            start,
            len,
            kind,
        } = *step;
        let size = size_of_object(object);
        let range = start as usize..(start + len) as usize;
        match kind {
            0 => {
                image.apply(&Extent::drop_object(object), &[]).unwrap();
                model.remove(&object);
            }
            1..4 => {
                image
                    .apply(&Extent::zero(object, size, start, len as u32), &[])
                    .unwrap();
                held(model, object)[range].fill(0);
            }
            _ => {
                let bytes: Vec<u8> = (0..len).map(|i| (i as usize * 7 + n + 1) as u8).collect();
                image
                    .apply(&data(object, size, start, &bytes), &bytes)
                    .unwrap();
                held(model, object)[range].copy_from_slice(&bytes);
            }
        }
    }
}

/// Brings pieces (object, size, offset, bytes) as one batch.
fn bring(writer: &ParallelWriter<'_>, pieces: &[(u64, u64, u64, Vec<u8>)]) {
    let mut builder = BatchBuilder::new(1 << 20, 8);
    for (object, size, at, bytes) in pieces {
        let fits = match bytes.iter().all(|b| *b == 0) {
            true => builder.push_zero(*object, *size, *at, bytes.len() as u32),
            false => builder.push_data(*object, *size, *at, bytes),
        };
        assert!(fits);
    }
    let table = builder.table();
    let batch = Batch::parse(builder.payload(), &table, &BatchLimits::default()).unwrap();
    writer.apply(&batch).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn an_image_holds_what_was_applied(steps in steps(), memory in 0..8 * GRANULE) {
        let spool = spool(memory, UNLIMITED);
        let guest = spool.guest();
        let (mut image, mut model) = (guest.new_image(), Model::new());
        perform(&steps, &mut image, &mut model);

        let objects: Vec<_> = model.iter().map(|(n, bytes)| (*n, bytes.len() as u64)).collect();
        prop_assert_eq!(image.objects().collect::<Vec<_>>(), objects.clone());
        let bytes = objects.iter().map(|(_, size)| size).sum();
        prop_assert_eq!(image.totals(), Totals { objects: objects.len() as u64, bytes });
        for (object, bytes) in &model {
            prop_assert_eq!(&read(&image, *object), bytes);
            let (from, to) = (bytes.len() / 3, bytes.len() - bytes.len() / 4);
            let mut part = vec![0xAA; to - from];
            image.read(*object, from as u64, &mut part).unwrap();
            prop_assert_eq!(&part, &bytes[from..to]);
        }
        prop_assert!(spool.memory().used() <= memory);
        prop_assert_eq!(guest.quota().used(), image.stored_bytes() + 1024 * objects.len() as u64);
        drop(image);
        prop_assert_eq!((guest.quota().used(), spool.memory().used()), (0, 0));
    }

    /// Batches of which no two overlap, in any order and side by side, as one after the other.
    #[test]
    fn an_image_that_many_fill_is_the_same(
        steps in steps(), memory in 0..8 * GRANULE, threads in 2..6usize, cuts in prop::collection::vec(1..GRANULE, 3..30),
    ) {
        let spool = spool(memory, UNLIMITED);
        let guest = spool.guest();
        let (mut image, mut model) = (guest.new_image(), Model::new());
        perform(&steps, &mut image, &mut model);
        // Another round over everything, in pieces of all sizes, every third of them zeros.
        let mut pieces = Vec::new();
        for object in 0..4u64 {
            let (size, mut at) = (size_of_object(object), 0);
            let bytes = held(&mut model, object);
            for (n, cut) in cuts.iter().enumerate().cycle().take(200) {
                let end = (at + cut).min(size);
                if at == end {
                    break;
                }
                let part = &mut bytes[at as usize..end as usize];
                part.fill(if n % 3 == 0 { 0 } else { n as u8 });
                pieces.push((object, size, at, part.to_vec()));
                at = end;
            }
        }
        let writer = ParallelWriter::new(&mut image);
        let mut share = vec![Vec::new(); threads];
        for (n, piece) in pieces.into_iter().enumerate() {
            share[n % threads].push(piece);
        }
        std::thread::scope(|scope| {
            for pieces in &share {
                let writer = &writer;
                scope.spawn(move || pieces.chunks(3).for_each(|chunk| bring(writer, chunk)));
            }
        });
        for (object, bytes) in &model {
            prop_assert!(&read(&image, *object) == bytes, "object {object}");
        }
        let cost = 1024 * image.totals().objects;
        prop_assert_eq!(guest.quota().used(), image.stored_bytes() + cost);
        drop(image);
        prop_assert_eq!((guest.quota().used(), spool.memory().used()), (0, 0));
    }

    #[test]
    fn exported_batches_make_an_equal_image(
        steps in steps(),
        payload in prop_oneof![100..5000usize, Just(1 << 20)],
        extents in 1..9usize,
    ) {
        let guest = spool(GRANULE, UNLIMITED).guest();
        let (mut image, mut model) = (guest.new_image(), Model::new());
        perform(&steps, &mut image, &mut model);
        let mut copy = guest.new_image();
        image.batches(payload, extents, |batch| {
            assert!(batch.payload().len() <= payload && batch.len() <= extents && !batch.is_empty());
            batch.verify_digests().unwrap();
            batch.iter().try_for_each(|(extent, bytes)| copy.apply(&extent, bytes))
        }).unwrap();
        prop_assert_eq!(copy.totals(), image.totals());
        prop_assert!(copy.stored_bytes() <= image.stored_bytes());
        for (object, bytes) in &model {
            prop_assert_eq!(&read(&copy, *object), bytes);
        }
    }
}

#[test]
fn zeros_take_no_space() {
    let guest = spool(0, UNLIMITED).guest();
    let mut image = guest.new_image();
    let size = 1 << 40;
    image
        .apply(&Extent::zero(1, size, 0, u32::MAX), &[])
        .unwrap();
    assert_eq!((image.stored_bytes(), image.totals().bytes), (0, size));
    let bytes = vec![5; 3 * GRANULE as usize];
    image
        .apply(&data(1, size, GRANULE / 2, &bytes), &bytes)
        .unwrap();
    assert_eq!(image.stored_bytes(), 4 * GRANULE);
    image
        .apply(&Extent::zero(1, size, 0, (3 * GRANULE) as u32), &[])
        .unwrap();
    assert_eq!(image.stored_bytes(), GRANULE);
}

#[test]
fn a_full_quota_refuses_the_extent_and_keeps_the_rest() {
    let guest = spool(UNLIMITED, 2 * GRANULE + 4096).guest();
    let mut image = guest.new_image();
    let bytes = vec![1; 2 * GRANULE as usize];
    image
        .apply(&data(1, 4 * GRANULE, 0, &bytes), &bytes)
        .unwrap();
    let used = guest.quota().used();
    let error = image
        .apply(&data(1, 4 * GRANULE, GRANULE, &bytes), &bytes)
        .unwrap_err();
    assert!(matches!(error, SpoolError::Quota { .. }), "{error}");
    // Neither may an object appear that has none of its bytes.
    let error = image
        .apply(&data(2, 8192, 0, &bytes[..8192]), &bytes[..8192])
        .unwrap_err();
    assert!(matches!(error, SpoolError::Quota { .. }), "{error}");
    assert_eq!((guest.quota().used(), image.totals().objects), (used, 1));
    let mut expected = bytes;
    expected.resize(4 * GRANULE as usize, 0);
    assert_eq!(read(&image, 1), expected);
    // Writing where there is space already needs no more.
    image
        .apply(&data(1, 4 * GRANULE, 5, b"again"), b"again")
        .unwrap();
}

/// A filesystem of `bytes` bytes, unmounted on drop; `None` where the test may not mount one.
struct Small(PathBuf);

impl Small {
    fn mount(bytes: u64) -> Option<Small> {
        let path = std::env::temp_dir().join(format!("xl-gpu-small-{}", std::process::id()));
        std::fs::create_dir_all(&path).ok()?;
        let options = std::ffi::CString::new(format!("size={bytes}")).ok()?;
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &path, "tmpfs", flags, Some(options.as_c_str())).ok()?;
        Some(Small(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_full_disk_refuses_the_extent_and_keeps_the_rest() {
    let Some(small) = Small::mount(4 * GRANULE) else {
        eprintln!("skipped: mounting a filesystem needs CAP_SYS_ADMIN");
        return;
    };
    let config = SpoolConfig {
        memory_bytes: 0,
        dir: small.0.clone(),
        guest_bytes: UNLIMITED,
    };
    let guest = Spool::new(config).guest();
    let mut image = guest.new_image();
    let bytes = vec![1; 3 * GRANULE as usize];
    image
        .apply(&data(1, 8 * GRANULE, 0, &bytes), &bytes)
        .unwrap();
    let used = guest.quota().used();
    let error = image.apply(
        &data(1, 8 * GRANULE, GRANULE, &vec![2; 4 * GRANULE as usize]),
        &[2; 4 << 16],
    );
    let error = error.unwrap_err();
    assert!(matches!(error, SpoolError::NoSpace { .. }), "{error}");
    assert!(
        error.to_string().contains(small.0.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(guest.quota().used(), used);
    let mut expected = bytes;
    expected.resize(8 * GRANULE as usize, 0);
    assert_eq!(read(&image, 1), expected);
    // Space that is given back can be used.
    image
        .apply(&Extent::zero(1, 8 * GRANULE, 0, 2 * GRANULE as u32), &[])
        .unwrap();
    image
        .apply(
            &data(1, 8 * GRANULE, 4 * GRANULE, &[3; 2 << 16]),
            &[3; 2 << 16],
        )
        .unwrap();
}

#[test]
fn a_missing_folder_is_named() {
    let dir = PathBuf::from("/nonexistent/spool");
    let config = SpoolConfig {
        memory_bytes: GRANULE,
        dir,
        guest_bytes: UNLIMITED,
    };
    let guest = Spool::new(config).guest();
    let mut image = guest.new_image();
    image
        .apply(&data(1, 8, 0, b"contents"), b"contents")
        .unwrap();
    let error = image
        .apply(&data(2, 8, 0, b"contents"), b"contents")
        .unwrap_err();
    assert!(error.to_string().contains("/nonexistent/spool"), "{error}");
    assert_eq!(image.totals().objects, 1);
}

/// Writes into the only unnamed spool file of this process of exactly `len` bytes.
fn tamper(dir: &Path, len: u64) {
    let tampered = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            if !target.starts_with(dir) {
                return false;
            }
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .open(entry.path())
                .unwrap();
            let ours = rustix::fs::fstat(file.as_fd()).unwrap().st_size as u64 == len;
            ours && file.write_all(b"!").is_ok()
        });
    assert_eq!(tampered.count(), 1);
}

#[test]
fn a_changed_spool_file_is_noticed() {
    let len = 3 * GRANULE;
    let dir = std::env::temp_dir().join(format!("xl-gpu-tamper-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let config = SpoolConfig {
        memory_bytes: 0,
        dir: dir.clone(),
        guest_bytes: UNLIMITED,
    };
    let mut image = Spool::new(config).guest().new_image();
    let bytes = vec![7; len as usize];
    image.apply(&data(9, len, 0, &bytes), &bytes).unwrap();
    assert_eq!(read(&image, 9), bytes);
    tamper(&dir, len);
    let mut buf = vec![0; len as usize];
    let error = image.read(9, 0, &mut buf).unwrap_err();
    assert!(
        matches!(
            error,
            SpoolError::Corrupt {
                object: 9,
                offset: 0,
                ..
            }
        ),
        "{error}"
    );
    std::fs::remove_dir(&dir).unwrap();
}

#[test]
fn wrong_claims_are_refused() {
    let mut image = spool(UNLIMITED, UNLIMITED).guest().new_image();
    image
        .apply(&data(1, 8, 0, b"contents"), b"contents")
        .unwrap();
    let error = image.apply(&data(1, 9, 0, b"x"), b"x").unwrap_err();
    assert!(
        matches!(
            error,
            SpoolError::SizeChanged {
                object: 1,
                held: 8,
                claimed: 9
            }
        ),
        "{error}"
    );
    let error = image.apply(&data(1, 8, 0, b"xy"), b"x").unwrap_err();
    assert!(matches!(error, SpoolError::WrongLength { .. }), "{error}");
    let beyond = Extent {
        kind: ExtentKind::Zero,
        ..data(1, 8, u64::MAX, b"")
    };
    for extent in [
        beyond,
        Extent {
            offset: 5,
            len: 4,
            ..beyond
        },
    ] {
        let error = image.apply(&extent, &[]).unwrap_err();
        assert!(matches!(error, SpoolError::OutOfRange { .. }), "{error}");
    }
    assert!(matches!(
        image.read(2, 0, &mut [0]),
        Err(SpoolError::NoObject(2))
    ));
    assert!(matches!(
        image.read(1, 8, &mut [0]),
        Err(SpoolError::OutOfRange { .. })
    ));
    let error = image
        .apply(&Extent::zero(3, u64::MAX, 0, 1), &[])
        .unwrap_err();
    assert!(
        matches!(error, SpoolError::TooLarge { object: 3, .. }),
        "{error}"
    );
    assert_eq!(read(&image, 1), b"contents");
}

#[test]
fn a_guest_keeps_images_by_session_and_generation() {
    let mut guest = spool(UNLIMITED, UNLIMITED).guest();
    let key = |generation| SessionKey {
        session: SessionId([3; 16]),
        generation,
    };
    guest.begin(&[key(1)]).unwrap();
    assert!(matches!(guest.begin(&[key(2), key(1)]), Err(SpoolError::Exists(k)) if k == key(1)));
    assert!(guest.get(&key(2)).is_none());

    let manifest = Manifest {
        version: MANIFEST_VERSION,
        minor: MANIFEST_MINOR,
        program: "p".into(),
        pid: 1,
        generation: 1,
        devices: vec![],
        buffers: vec![BufferEntry {
            id: 4.into(),
            bytes: 100,
        }],
    };
    let bytes = manifest.to_bytes().unwrap();
    guest
        .apply(&key(1), 0, &Extent::zero(4, 100, 0, 100), &[])
        .unwrap();
    assert!(matches!(
        guest.get(&key(1)).unwrap().manifest(1),
        Err(SpoolError::NoObject(0))
    ));
    guest
        .apply(&key(1), 0, &data(0, bytes.len() as u64, 0, &bytes), &bytes)
        .unwrap();
    assert_eq!(guest.get(&key(1)).unwrap().manifest(1).unwrap(), manifest);
    assert!(matches!(
        guest.get(&key(1)).unwrap().manifest(2),
        Err(SpoolError::Manifest(_))
    ));
    assert_eq!(guest.totals(&key(1)).objects, 2);

    drop(guest.remove(&key(1)));
    assert_eq!((guest.quota().used(), guest.iter().count()), (0, 0));
    let error = guest
        .apply(&key(1), 0, &Extent::zero(4, 100, 0, 100), &[])
        .unwrap_err();
    assert!(matches!(error, SpoolError::NoImage(_)), "{error}");
}

#[test]
fn a_new_object_that_memory_has_no_room_for_goes_to_disk() {
    let Some(small) = Small::mount(4 * GRANULE) else {
        eprintln!("skipped: mounting a filesystem needs CAP_SYS_ADMIN");
        return;
    };
    let folder = Folder::new("fallback");
    let mut shared = folder.spool().guest().new_image().shared.clone();
    shared.memory_dir = Some(small.0.clone());
    shared.keep_free = false;
    shared.memory = std::sync::Arc::new(Budget::new(UNLIMITED));
    let mut image = Image::new(shared);
    let bytes = vec![7; 8 * GRANULE as usize];
    image
        .apply(&data(1, 8 * GRANULE, 0, &bytes), &bytes)
        .unwrap();
    assert_eq!(read(&image, 1), bytes);
    image.apply(&data(2, 3, 0, b"abc"), b"abc").unwrap();
    assert_eq!(read(&image, 2), b"abc");
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("xl-gpu-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn spool(&self) -> Spool {
        let config = SpoolConfig {
            memory_bytes: UNLIMITED,
            dir: self.0.join("disk"),
            guest_bytes: UNLIMITED,
        };
        Spool::lasting(config, self.0.join("memory")).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_name_that_is_taken_costs_nobody_an_image() {
    let folder = Folder::new("taken");
    let guest = folder.spool().guest();
    let [mut first, mut second, mut empty] = std::array::from_fn(|_| guest.new_image());
    for image in [&mut first, &mut second] {
        image.apply(&data(1, 3, 0, b"abc"), b"abc").unwrap();
    }
    first.save("name", &"first").unwrap();
    for image in [&mut second, &mut empty] {
        let error = image.save("name", &"later").unwrap_err();
        assert!(matches!(error, SpoolError::Save { .. }), "{error}");
    }
    drop((second, empty));
    let saved = folder.spool().saved();
    assert_eq!(saved.len(), 1);
    assert_eq!(saved[0].label(), "first");
}

#[test]
fn an_index_that_cannot_be_read_is_put_aside_with_its_files() {
    let folder = Folder::new("aside");
    let memory = folder.0.join("memory");
    let mut image = folder.spool().guest().new_image();
    image.apply(&data(1, 3, 0, b"abc"), b"abc").unwrap();
    image.save("name", &"label").unwrap();
    std::fs::write(memory.join("name.json"), "{").unwrap();
    // Not only the daemon that finds it, later ones too.
    for _ in 0..2 {
        assert!(folder.spool().saved().is_empty());
        assert!(memory.join("name.bad").exists());
        assert!(memory.join("name.memory").exists());
        assert!(!memory.join("name.json").exists());
    }
}
