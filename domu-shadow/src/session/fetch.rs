//! Buffer contents from the slots into the driver, several transfers in flight.

use super::flow::failed;
use super::lend::{SlotBytes, lend};
use crate::mover::{Restoring, Transfer};
use channel::guest::{Filled, Inbox, StepError};
use std::collections::VecDeque;

/// Fetches all contents of `objects` (id, bytes) into the driver's new buffers; bytes fetched.
pub(super) fn fetch_all(
    restoring: &Restoring,
    objects: &[(u64, u64)],
    inbox: &mut Inbox<'_>,
) -> Result<u64, StepError> {
    let most = inbox.payload_size() as u64;
    let mut writing: VecDeque<(Filled, Transfer<SlotBytes>)> = VecDeque::new();
    let mut bytes = 0;
    let pieces = objects.iter().flat_map(|(object, size)| {
        (0..size.div_ceil(most)).map(move |n| (*object, n * most, (size - n * most).min(most)))
    });
    for (object, offset, len) in pieces {
        while !inbox.fetch(object, offset, len as usize)? {
            // No slot is free: take an answer where one is due, else end the oldest write.
            if inbox.pending() > 0 {
                write_next(restoring, inbox, &mut writing)?;
            } else {
                end_oldest(inbox, &mut writing)?;
            }
        }
        bytes += len;
    }
    while inbox.pending() > 0 {
        write_next(restoring, inbox, &mut writing)?;
    }
    while !writing.is_empty() {
        end_oldest(inbox, &mut writing)?;
    }
    Ok(bytes)
}

fn write_next(
    restoring: &Restoring,
    inbox: &mut Inbox<'_>,
    writing: &mut VecDeque<(Filled, Transfer<SlotBytes>)>,
) -> Result<(), StepError> {
    let filled = inbox.wait()?;
    let bytes = lend(inbox.payload(&filled));
    let transfer = restoring
        .start_write(filled.object, filled.offset, bytes)
        .map_err(failed)?;
    writing.push_back((filled, transfer));
    Ok(())
}

fn end_oldest(
    inbox: &mut Inbox<'_>,
    writing: &mut VecDeque<(Filled, Transfer<SlotBytes>)>,
) -> Result<(), StepError> {
    if let Some((filled, transfer)) = writing.pop_front() {
        transfer.wait().map_err(failed)?;
        inbox.done(filled);
    }
    Ok(())
}
