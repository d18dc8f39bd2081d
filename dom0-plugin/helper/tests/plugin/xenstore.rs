//! Stands in for xenstored: answers reads and listings over its socket protocol (`xen/io/xs_wire.h`), as much as the
//! plugin's own look into XenStore needs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use crate::fakes::scratch_file;

const DIRECTORY: u32 = 1;
const READ: u32 = 2;
const ERROR: u32 = 16;

/// Serves these nodes; gives the socket.
pub fn serve(nodes: &[(&str, &str)]) -> PathBuf {
    let socket = scratch_file();
    let listener = UnixListener::bind(&socket).unwrap();
    let nodes: BTreeMap<String, String> = nodes
        .iter()
        .map(|(p, v)| (p.to_string(), v.to_string()))
        .collect();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = converse(connection.unwrap(), &nodes);
        }
    });
    socket
}

fn converse(mut socket: UnixStream, nodes: &BTreeMap<String, String>) -> std::io::Result<()> {
    loop {
        let mut header = [0u8; 16];
        socket.read_exact(&mut header)?;
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let mut payload = vec![0; word(12) as usize];
        socket.read_exact(&mut payload)?;
        let path = String::from_utf8_lossy(&payload)
            .trim_end_matches('\0')
            .to_string();
        let below = format!("{path}/");
        let children: Vec<&str> = nodes
            .keys()
            .filter_map(|n| n.strip_prefix(&below))
            .collect();
        let answer = match word(0) {
            READ => nodes.get(&path).map(|v| v.clone().into_bytes()),
            DIRECTORY if !children.is_empty() => {
                let mut names: Vec<&str> = children
                    .iter()
                    .map(|c| c.split('/').next().unwrap())
                    .collect();
                names.dedup();
                Some(
                    names
                        .iter()
                        .flat_map(|n| [n.as_bytes(), b"\0"].concat())
                        .collect(),
                )
            }
            _ => None,
        };
        let (kind, body) = answer.map_or((ERROR, b"ENOENT\0".to_vec()), |body| (word(0), body));
        let reply = [kind, word(4), word(8), body.len() as u32]
            .map(u32::to_le_bytes)
            .concat();
        socket.write_all(&[reply, body].concat())?;
    }
}
