//! The plugin in a process of its own, between stand-ins for Xen's libraries and for `xl-gpud`: the real shared
//! library, preloaded, over a real stream.

mod daemon;
mod failing;
mod fakes;
mod ram;
mod restoring;
mod saving;
mod versions;
mod xenstore;

use std::path::PathBuf;

/// A XenStore in which domain 5 has a GPU session.
fn store_with_session() -> PathBuf {
    xenstore::serve(&[
        (
            "/local/domain/5/data/gpu-migration/00112233445566778899aabbccddeeff/program",
            "vadd",
        ),
        (
            "/local/domain/5/data/gpu-migration/00112233445566778899aabbccddeeff/protocol",
            "1 1",
        ),
    ])
}

/// A XenStore in which it has none: the node that completes a session is missing.
fn store_without_session() -> PathBuf {
    xenstore::serve(&[(
        "/local/domain/5/data/gpu-migration/00112233445566778899aabbccddeeff/program",
        "vadd",
    )])
}

/// The stream of a plain save, made without the plugin.
fn stock_stream() -> Vec<u8> {
    let (outcome, stream) = fakes::Xen::version(17).stock().save();
    outcome.says("complete rc 0");
    stream
}

/// Record types of a stream, in order.
fn records(stream: &[u8]) -> Vec<u32> {
    let mut rest = &stream[40..];
    let mut kinds = Vec::new();
    while rest.len() >= 8 {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        kinds.push(word(0));
        rest = &rest[8 + (word(4) as usize).next_multiple_of(8)..];
    }
    kinds
}

const HEAD: u32 = 0x4750_5500;
const DATA: u32 = 0xc750_5501;
const SEAL: u32 = 0xc750_5502;
const PAGES: u32 = 1;
const END: u32 = 0;

/// The stream without the GPU's records.
fn without_ours(stream: &[u8]) -> Vec<u8> {
    let mut result = stream[..40].to_vec();
    let mut rest = &stream[40..];
    while rest.len() >= 8 {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let (record, next) = rest.split_at(8 + (word(4) as usize).next_multiple_of(8));
        if ![HEAD, DATA, SEAL].contains(&word(0)) {
            result.extend_from_slice(record);
        }
        rest = next;
    }
    result
}
