//! What looking for repeated chunks costs a thread that writes a stream, in processor time.
//!
//!     cargo run --release -p xl-gpud --example references [MIB]
//!
//! Batches of 1 MiB, MIB (default 2048) of them, go to nowhere: as records with their digests alone, then through what
//! migrations use, first with no two equal chunks, then each batch a second time.

use channel::image::{Batch, BatchLimits, Digest, Extent, SessionId, SessionKey};
use std::error::Error;
use stream::{DataRecord, ImageId, RecordSender, RecordWriter};
use zerocopy::IntoBytes;

const BATCH: usize = 1 << 20;
/// Beyond any cache.
const POOL: usize = 256;

fn processor_ms() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

fn main() -> Result<(), Box<dyn Error>> {
    let mib: usize = std::env::args()
        .nth(1)
        .map_or(Ok(2048), |arg| arg.parse())?;
    let key = SessionKey {
        session: SessionId([1; 16]),
        generation: 1,
    };
    let mut pool: Vec<u8> = (0..POOL * BATCH).map(|n| (n % 251) as u8).collect();
    let mut writer = RecordWriter::start(std::io::sink(), ImageId::random()?, &[key])?;
    let sender = RecordSender::start(std::io::sink(), ImageId::random()?, &[key])?;
    let mut took = [0.0; 3];
    let mut number = 0u64;
    for n in 0..mib {
        let bytes = &mut pool[n % POOL * BATCH..][..BATCH];
        for chunk in bytes.chunks_exact_mut(4096) {
            number += 1;
            chunk[..8].copy_from_slice(&number.to_le_bytes());
        }
        let extent = Extent::data(
            1,
            (mib * BATCH) as u64,
            (n * BATCH) as u64,
            BATCH as u32,
            Digest::NONE,
        );
        let table = extent.to_wire();
        let batch = Batch::parse(bytes, table.as_bytes(), &BatchLimits::default())?;
        let begun = processor_ms();
        std::hint::black_box(Digest::of(batch.payload()));
        writer.put(&DataRecord::new(&key, 0, &batch))?;
        took[0] += processor_ms() - begun;
        for took in &mut took[1..] {
            let begun = processor_ms();
            sender.send(&key, 0, &batch)?;
            *took += processor_ms() - begun;
        }
    }
    let [records, unlike, repeated] = took.map(|ms| ms * 1024.0 / mib as f64);
    println!(
        "ms of a core for each GiB: {records:.0} records alone, {unlike:.0} none repeated, {repeated:.0} all repeated"
    );
    Ok(())
}
