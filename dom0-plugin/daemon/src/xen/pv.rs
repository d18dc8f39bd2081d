//! A paravirtual guest's part: the nodes of pciback and pcifront.

use super::store::XenStore;
use crate::passthrough::toolstack::Link;
use channel::xenstore;
use std::io;

/// `XenbusStateConnected` of `xen/include/public/io/xenbus.h`.
const CONNECTED: &str = "4";

/// dom0's folder of a domain's devices, which libxl's list is.
pub fn backend(domid: u32) -> String {
    format!("{}/{domid}/0", backends())
}

/// dom0's folder of all domains' devices.
pub fn backends() -> String {
    format!("{}/backend/pci", xenstore::home(0))
}

fn frontend(domid: u32) -> String {
    format!("{}/device/pci/0", xenstore::home(domid))
}

/// How far the two have come.
pub fn link(store: &XenStore, domid: u32) -> io::Result<Link> {
    let state = |end: String| store.read(&format!("{end}/state"));
    let (back, front) = (state(backend(domid))?, state(frontend(domid))?);
    Ok(match (back.as_deref(), front.as_deref()) {
        (None, _) => Link::None,
        (Some(CONNECTED), Some(CONNECTED)) => Link::Connected,
        _ => Link::Waiting,
    })
}

/// Writes the same state again: Linux looks at a device of which a node fires, but not at the folder above.
pub fn wake(store: &XenStore, domid: u32) -> io::Result<()> {
    store.touch(&format!("{}/state", frontend(domid))).map(drop)
}
