//! A paravirtual guest's part: the nodes of pciback and pcifront.

use super::store::XenStore;
use crate::passthrough::device::Device;
use crate::passthrough::toolstack::Link;
use channel::xenstore;
use std::io;

/// `XenbusStateConnected` of `xen/include/public/io/xenbus.h`.
const CONNECTED: &str = "4";
/// `XenbusStateClosing`, `XenbusStateClosed`.
const CLOSING: &str = "5";
const CLOSED: &str = "6";

/// Most devices of a domain that are looked at.
pub const MAX_DEVICES: u32 = 64;

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

/// Whether a device that is listed has left: libxl asked for it (its own state is "closing" or "closed"), and the two have come to the
/// end of that, which libxl had not waited for.
pub fn has_let_go(store: &XenStore, domid: u32, device: &Device) -> io::Result<bool> {
    let folder = backend(domid);
    let read = |name: String| store.read(&format!("{folder}/{name}"));
    let count = read("num_devs".into())?.and_then(|n| n.parse().ok());
    for n in 0..count.unwrap_or(0).min(MAX_DEVICES) {
        if read(format!("dev-{n}"))?.as_deref() != Some(&*device.bdf) {
            continue;
        }
        let state = read(format!("state-{n}"))?;
        let was_asked = matches!(state.as_deref(), Some(CLOSING | CLOSED));
        return Ok(was_asked && link(store, domid)? == Link::Connected);
    }
    Ok(false)
}

/// Writes the same state again: Linux looks at a device of which a node fires, but not at the folder above.
pub fn wake(store: &XenStore, domid: u32) -> io::Result<()> {
    store.touch(&format!("{}/state", frontend(domid))).map(drop)
}
