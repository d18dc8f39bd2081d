use super::record::file_name;
use super::*;
use spool::SpoolConfig;

fn key() -> SessionKey {
    SessionKey {
        session: "00112233445566778899aabbccddeeff".parse().unwrap(),
        generation: 1,
    }
}

/// An image of one byte.
fn image_of(images: &Images, byte: u8) -> Image {
    let mut image = images.new_image(7);
    let digest = channel::image::Digest::NONE;
    let extent = channel::image::Extent::data(1, 1, 0, 1, digest);
    image.apply(&extent, &[byte]).unwrap();
    image
}

fn byte_of(image: &Image) -> u8 {
    let mut byte = [0];
    image.read(1, 0, &mut byte).unwrap();
    byte[0]
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("xl-gpu-images-{name}-{}", std::process::id());
        Folder(std::env::temp_dir().join(name))
    }

    /// What a daemon finds, and would find after it was killed.
    fn images(&self) -> Images {
        let config = SpoolConfig {
            memory_bytes: 1 << 20,
            dir: self.0.join("disk"),
            guest_bytes: 1 << 20,
        };
        Images::new(Spool::lasting(config, self.records()).unwrap())
    }

    fn records(&self) -> std::path::PathBuf {
        self.0.join("memory")
    }

    fn count(&self) -> usize {
        std::fs::read_dir(self.records()).unwrap().count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a daemon after this one takes over.
fn adopted(folder: &Folder) -> Vec<u8> {
    let next = folder.images();
    next.adopt(|_| Ok(None));
    let kept = next.list(7);
    let taken: Vec<Image> = kept.iter().map(|l| next.take(7, l.key).unwrap()).collect();
    let bytes = taken.iter().map(byte_of).collect();
    // As if it were killed: their files stay.
    taken.into_iter().for_each(std::mem::forget);
    bytes
}

#[test]
fn an_image_is_replaced_without_a_moment_in_which_there_is_none() {
    let folder = Folder::new("replaced");
    let images = folder.images();
    for byte in 1..5 {
        let other = images
            .replace(7, None, key(), image_of(&images, byte), Purpose::Serve)
            .unwrap();
        assert_eq!(other.as_ref().map(byte_of), (byte > 1).then(|| byte - 1));
        drop(other);
        assert_eq!(adopted(&folder), [byte]);
        assert_eq!(folder.count(), 2, "the record and its file");
    }
    drop(images);
    assert_eq!(folder.count(), 0);
}

#[test]
fn an_image_that_cannot_be_put_on_record_replaces_nothing() {
    let folder = Folder::new("kept");
    let images = folder.images();
    let mut image = image_of(&images, 1);
    images
        .save(7, None, key(), &mut image, Purpose::Held)
        .unwrap();
    images.insert(7, key(), image, Purpose::Held).unwrap();
    let in_the_way = folder
        .records()
        .join(format!("{}-2.memory", file_name(7, key())));
    std::fs::write(&in_the_way, "").unwrap();
    let image = image_of(&images, 2);
    images
        .replace(7, None, key(), image, Purpose::Serve)
        .unwrap_err();
    assert_eq!(images.list(7)[0].purpose, Purpose::Held);
    std::fs::remove_file(&in_the_way).unwrap();
    assert_eq!(adopted(&folder), [1]);
}

#[test]
fn an_image_is_served_once_at_a_time_and_again_after_a_failure() {
    let images = Images::new(Spool::new(SpoolConfig {
        memory_bytes: 1 << 20,
        dir: "/nonexistent".into(),
        guest_bytes: 1 << 20,
    }));
    let key = key();
    assert_eq!(images.due(7, &key, false), None);
    let image = images.new_image(7);
    images.insert(7, key, image, Purpose::Serve).unwrap();
    assert_eq!(images.due(7, &key, false), Some(Due::Now));

    let image = images.take(7, key).unwrap();
    assert_eq!(images.due(7, &key, false), Some(Due::NotNow));
    images.put_back(7, key, image, true);
    assert!(matches!(images.due(7, &key, false), Some(Due::In(_))));
    assert_eq!(images.due(7, &key, false), Some(Due::NotNow));
    images.try_again(7, &key);
    assert_eq!(images.due(7, &key, false), Some(Due::Now));
}
