//! Copy extents: bytes that the image has already, at another place.

use channel::image::{CopySource, Digest, Extent, ExtentKind};

use super::Image;
use crate::error::SpoolError;

impl Image {
    /// The bytes of a copy extent as they are now, once they are known to be those that were meant. The image stays as
    /// it is: they are then written as a data extent's, whether or not the two places overlap.
    pub(super) fn copied(
        &self,
        extent: &Extent,
        source: &[u8],
    ) -> Result<(Extent, Vec<u8>), SpoolError> {
        let Extent {
            object,
            offset,
            len,
            digest,
            ..
        } = *extent;
        let Some(from) = CopySource::from_payload(source) else {
            let expected = extent.payload_bytes() as u32;
            return Err(SpoolError::WrongLength {
                object,
                len: source.len(),
                expected,
            });
        };
        let there = self.object_size(from.object);
        let end = from.offset.checked_add(u64::from(len));
        if there.is_none_or(|size| end.is_none_or(|end| end > size)) {
            return Err(SpoolError::NoSource {
                object,
                offset,
                len,
                from_object: from.object,
                from_offset: from.offset,
                size: there.unwrap_or(0),
            });
        }
        let mut bytes = vec![0; len as usize];
        self.read(from.object, from.offset, &mut bytes)?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(SpoolError::OtherSource {
                object,
                offset,
                len,
                from_object: from.object,
                from_offset: from.offset,
                meant: digest,
                found,
            });
        }
        let data = Extent {
            kind: ExtentKind::Data,
            ..*extent
        };
        Ok((data, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GRANULE, Spool, SpoolConfig};

    fn image() -> Image {
        let config = SpoolConfig {
            memory_bytes: 1 << 30,
            dir: "/nonexistent".into(),
            guest_bytes: 1 << 30,
        };
        let mut image = Spool::new(config).guest().new_image();
        let bytes: Vec<u8> = (0..100).collect();
        let extent = Extent::data(1, 200, 0, 100, Digest::of(&bytes));
        image.apply(&extent, &bytes).unwrap();
        image
    }

    fn read(image: &Image, object: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        image.read(object, 0, &mut bytes).unwrap();
        bytes
    }

    fn copy(image: &mut Image, to: u64, len: u32, from: u64, digest: Digest) -> bool {
        let extent = Extent::copy(1, 200, to, len, digest);
        let source = CopySource {
            object: 1,
            offset: from,
        };
        image.apply(&extent, &source.to_payload()).is_ok()
    }

    #[test]
    fn places_that_overlap_are_copied_as_they_were_before() {
        for (to, from) in [(30, 0), (0, 30), (10, 10)] {
            let mut image = image();
            let mut expected = read(&image, 1, 200);
            let digest = Digest::of(&expected[from..from + 60]);
            assert!(copy(&mut image, to as u64, 60, from as u64, digest));
            expected.copy_within(from..from + 60, to);
            assert_eq!(read(&image, 1, 200), expected);
        }
    }

    #[test]
    fn a_hole_is_copied_as_zeros_and_a_new_object_is_made() {
        let mut image = image();
        let bytes = [&read(&image, 1, 200)[90..], &[0; 0]].concat();
        let extent = Extent::copy(2, 2 * GRANULE, GRANULE - 10, 110, Digest::of(&bytes));
        let source = CopySource {
            object: 1,
            offset: 90,
        };
        image.apply(&extent, &source.to_payload()).unwrap();
        let mut found = vec![1; 110];
        image.read(2, GRANULE - 10, &mut found).unwrap();
        assert_eq!(found, bytes);
        assert_eq!(image.object_size(2), Some(2 * GRANULE));
    }

    #[test]
    fn a_refused_copy_leaves_the_image_as_it_was() {
        let mut image = image();
        let before = (read(&image, 1, 200), image.totals(), image.stored_bytes());
        assert!(!copy(&mut image, 100, 60, 0, Digest::of(b"other")));
        assert!(!copy(&mut image, 100, 60, 150, Digest::of(&[0; 60])));
        let elsewhere = Extent::copy(9, 200, 0, 10, Digest::of(b"other"));
        let source = CopySource {
            object: 1,
            offset: 0,
        };
        assert!(image.apply(&elsewhere, &source.to_payload()).is_err());
        assert!(image.apply(&elsewhere, &[0; 15]).is_err());
        let after = (read(&image, 1, 200), image.totals(), image.stored_bytes());
        assert_eq!(before, after);
    }
}
