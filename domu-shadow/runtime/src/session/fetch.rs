//! Buffer contents from the slots into the driver, several transfers in flight.

use super::slot_bytes::{SlotBytes, lend};
use super::step::{SIGN_OF_LIFE, failed, go_on};
use crate::mover::{FetchRange, MoveError, OwnedBytes, PostCopy, Transfer};
use crate::poll;
use channel::guest::{Fetcher, Filled, StepError};
use std::collections::VecDeque;
use std::time::Instant;

/// A transfer to the driver.
enum Writing {
    Slot(Filled, Transfer<SlotBytes>),
    Zero(Transfer<OwnedBytes>),
}

impl Writing {
    fn is_done(&self) -> bool {
        match self {
            Writing::Slot(_, transfer) => transfer.is_done(),
            Writing::Zero(transfer) => transfer.is_done(),
        }
    }
}

/// Those under way, the oldest first.
type Written = VecDeque<(FetchRange, Writing)>;

/// Fetches what has not arrived yet into the driver's new objects; bytes fetched.
pub(super) fn fetch_all(
    arriving: &mut PostCopy,
    inbox: &mut Fetcher<'_>,
) -> Result<u64, StepError> {
    arriving.pin(inbox.pages());
    let mut writing = Written::new();
    let most = inbox.payload_size() as u64;
    let mut bytes = 0;
    loop {
        go_on()?;
        while writing.front().is_some_and(|(_, oldest)| oldest.is_done()) {
            end_oldest(arriving, inbox, &mut writing)?;
        }
        // Which piece is next is decided when there is a slot for it: somebody may have begun to wait.
        while inbox.has_slot()
            && let Some(piece) = arriving.next_range(most)
        {
            inbox.fetch(piece.object, piece.offset, piece.len as usize)?;
            bytes += piece.len;
        }
        if inbox.pending() > 0 {
            write_next(arriving, inbox, &mut writing)?;
        } else if !writing.is_empty() {
            end_oldest(arriving, inbox, &mut writing)?;
        } else {
            return Ok(bytes);
        }
    }
}

fn write_next(
    arriving: &mut PostCopy,
    inbox: &mut Fetcher<'_>,
    writing: &mut Written,
) -> Result<(), StepError> {
    let filled = inbox.wait()?;
    let piece = FetchRange {
        object: filled.object,
        offset: filled.offset,
        len: filled.len as u64,
    };
    let started = if filled.zero {
        inbox.done(filled);
        arriving.start_zero(&piece).map(Writing::Zero)
    } else {
        match arriving.start_write(&piece, lend(inbox.payload(&filled))) {
            Ok(transfer) => Ok(Writing::Slot(filled, transfer)),
            Err(e) => {
                inbox.done(filled);
                Err(e)
            }
        }
    };
    match started {
        Ok(transfer) => writing.push_back((piece, transfer)),
        // The program has released it meanwhile.
        Err(MoveError::Gone(_)) => arriving.arrived(&piece),
        Err(e) => return Err(failed(e)),
    }
    Ok(())
}

fn end_oldest(
    arriving: &mut PostCopy,
    inbox: &mut Fetcher<'_>,
    writing: &mut Written,
) -> Result<(), StepError> {
    let Some((piece, oldest)) = writing.pop_front() else {
        return Ok(());
    };
    let mut said = Instant::now();
    poll::until(
        || Ok::<_, StepError>(oldest.is_done()),
        || {
            if said.elapsed() >= SIGN_OF_LIFE {
                said = Instant::now();
                inbox.busy()?;
            }
            Ok(())
        },
    )?;
    match oldest {
        Writing::Slot(filled, transfer) => {
            transfer.wait().map_err(failed)?;
            inbox.done(filled);
        }
        Writing::Zero(transfer) => {
            transfer.wait().map_err(failed)?;
        }
    }
    arriving.arrived(&piece);
    Ok(())
}
