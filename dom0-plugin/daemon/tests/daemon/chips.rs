//! A domain whose programs need the same chip is refused by a host with another, while it still runs.

use crate::doctor::with_device;
use crate::host::Host;
use crate::migration::{header, restore, save, stream_of};
use crate::program::{Program, objects};
use crate::toolstack::FakeToolstack;
use channel::link::LeftToDriver;
use daemon::passthrough::chip::{Chip, Gpu};
use std::io::Read;
use std::os::fd::AsFd;

fn gpu(bdf: &str, device: u16) -> Gpu {
    Gpu {
        bdf: bdf.into(),
        chip: Chip {
            vendor: 0x10de,
            device,
            name: format!("GPU {device:x}"),
        },
        is_for_guests: true,
    }
}

/// A host whose GPUs are these.
fn host(gpus: &[Gpu]) -> (Host, FakeToolstack) {
    let (host, toolstack) = with_device();
    toolstack.pci().gpus = gpus.to_vec();
    (host, toolstack)
}

/// What a domain with a program on `gpu` sends.
fn sent(contexts: u64, gpu: impl Fn(&str) -> Gpu) -> Vec<u8> {
    let (source, toolstack) = host(&[]);
    let bdf = toolstack.pci().assigned[0].bdf.clone();
    toolstack.pci().gpus = vec![gpu(&bdf)];
    let _program = Program::start_with(&source.programs, 1, objects(1, 3), |s| {
        s.left = LeftToDriver {
            contexts,
            ..LeftToDriver::default()
        };
    });
    source.expect_sessions(1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let collecting = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    drop(save(&source, writer, || ()).unwrap());
    collecting.join().unwrap()
}

fn received(stream: &[u8], gpus: &[Gpu]) -> Result<(), String> {
    let (destination, _) = host(gpus);
    let mut talk = restore(&destination, stream_of(stream.to_vec()))?;
    talk.ask(serde_json::json!({"op": "done", "rc": 0}))?;
    assert_eq!(destination.daemon.images.list(0).len(), 1);
    Ok(())
}

#[test]
fn another_chip_is_refused_by_the_first_records() {
    let stream = sent(1, |bdf| gpu(bdf, 0x2335));
    let error = received(&stream, &[gpu("0000:01:00.0", 0x20b5)]).unwrap_err();
    for part in [
        "GPU 2335 [10de:2335]",
        "GPU 20b5 [10de:20b5] at 0000:01:00.0",
    ] {
        assert!(error.contains(part), "{error}");
    }
    // Long before its contents.
    let head = &stream[..2048];
    let error = received(head, &[gpu("0000:01:00.0", 0x20b5)]).unwrap_err();
    assert!(error.contains("same chip only"), "{error}");
    // The same elsewhere in the host, or nothing to compare with.
    received(
        &stream,
        &[gpu("0000:99:00.0", 0x20b5), gpu("0000:01:00.0", 0x2335)],
    )
    .unwrap();
    received(&stream, &[]).unwrap();
    // A receiver that knows no notice finds an object that goes again: the same as this one, which checks all totals.
    let mut file = std::io::Cursor::new(stream);
    let mut receiver = stream::Receiver::new(stream::StreamLimits {
        max_object_bytes: 1 << 30,
    });
    let mut plain = Plain::default();
    let header = receiver.reader().read_header(&mut file).unwrap();
    receiver.records(&mut file, header, &mut plain).unwrap();
    assert!(plain.noticed && !plain.objects.contains(&stream::NOTICE_OBJECT));
}

/// As an earlier version's images are.
#[derive(Default)]
struct Plain {
    objects: std::collections::BTreeSet<u64>,
    noticed: bool,
}

impl stream::ImageSink for Plain {
    type Error = std::convert::Infallible;

    fn begin(&mut self, _: &[channel::image::SessionKey]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn apply(
        &mut self,
        _: &channel::image::SessionKey,
        _: u32,
        extent: &channel::image::Extent,
        _: &[u8],
    ) -> Result<(), Self::Error> {
        self.noticed |= extent.object == stream::NOTICE_OBJECT;
        match extent.kind {
            channel::image::ExtentKind::Drop => self.objects.remove(&extent.object),
            _ => self.objects.insert(extent.object),
        };
        Ok(())
    }

    fn totals(&self, _: &channel::image::SessionKey) -> stream::Totals {
        stream::Totals::default()
    }
}

#[test]
fn doctor_says_which_chip_the_other_host_needs() {
    let (source, toolstack) = host(&[]);
    let bdf = toolstack.pci().assigned[0].bdf.clone();
    toolstack.pci().gpus = vec![gpu(&bdf, 0x2335), gpu("0000:99:00.0", 0x20b5)];
    let program = Program::start_with(&source.programs, 1, objects(1, 1), |s| {
        s.left.contexts = 1;
    });
    source.expect_sessions(1);
    let asked = serde_json::json!({"op": "doctor", "domain": "loopback", "save_helper": null});
    let diagnosis = source.ask(asked).unwrap().to_string();
    assert!(
        diagnosis.contains("same chip only: GPU 2335 [10de:2335]\""),
        "{diagnosis}"
    );
    drop(program);
}

/// What the receiver says to the plugin when it has read the first records.
fn first_word(stream: &[u8], gpus: &[Gpu]) -> serde_json::Value {
    let (destination, _) = host(gpus);
    let mut stream = stream_of(stream.to_vec());
    let mut talk = destination.connect();
    loop {
        let next = header(&mut stream);
        if next["type"].as_u64().unwrap() & 0x7fff_ff00 == 0x4750_5500 {
            let restore = serde_json::json!({"op": "restore", "domid": 0});
            talk.ask_with(restore, stream.as_fd()).unwrap();
            let (kind, length) = (&next["type"], &next["length"]);
            let records = serde_json::json!({"op": "records", "type": kind, "length": length});
            return talk.ask(records).unwrap();
        }
        stream.read_exact(&mut [0; 16]).unwrap();
    }
}

/// They may go on on another model, or not: xl says so while they still run at the source, and refuses nothing.
#[test]
fn programs_without_a_driver_s_own_state_need_no_chip() {
    let stream = sent(0, |bdf| gpu(bdf, 0x2335));
    let other = [gpu("0000:01:00.0", 0x20b5)];
    received(&stream, &other).unwrap();
    let warning = first_word(&stream, &other)["warning"].to_string();
    for part in [
        "GPU 2335 [10de:2335]",
        "GPU 20b5 [10de:20b5] at 0000:01:00.0",
        "OpenCL programs go on there if",
    ] {
        assert!(warning.contains(part), "{warning}");
    }
    let same = first_word(&stream, &[gpu("0000:01:00.0", 0x2335)]);
    assert_eq!(same.get("warning"), None);
}
