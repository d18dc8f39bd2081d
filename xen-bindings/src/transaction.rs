//! Transactions of XenStore.

use std::marker::PhantomData;
use std::ops::Deref;

use crate::error::StoreError;
use crate::nodes::{Nodes, failed};
use crate::store::Store;
use crate::sys::store::XBT_NULL;

impl Store {
    /// Runs `body` in a transaction and commits it; on a conflict with somebody else's writes, runs it again.
    /// An error from `body` ends the transaction without effect.
    ///
    /// # Errors
    /// The error of `body`, what the store answered, or [`StoreError::Conflict`] after 100 attempts.
    pub fn transaction<T, E: From<StoreError>>(
        &self,
        mut body: impl FnMut(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        const ATTEMPTS: u32 = 100;
        for _ in 0..ATTEMPTS {
            let transaction = Transaction::start(self)?;
            let value = body(&transaction)?;
            if transaction.commit()? {
                return Ok(value);
            }
        }
        Err(StoreError::Conflict(ATTEMPTS).into())
    }
}

/// An open transaction of [`Store::transaction`]: sees the nodes as they were at the start, and its own writes.
#[derive(Debug)]
pub struct Transaction<'a> {
    nodes: Nodes,
    open: bool,
    store: PhantomData<&'a Store>,
}

impl<'a> Transaction<'a> {
    fn start(store: &'a Store) -> Result<Self, StoreError> {
        let (api, handle) = (store.api, store.handle);
        // SAFETY: valid handle.
        match unsafe { (api.xs_transaction_start)(handle.as_ptr()) } {
            XBT_NULL => Err(failed("transaction", "")),
            transaction => Ok(Self {
                nodes: Nodes {
                    api,
                    handle,
                    transaction,
                },
                open: true,
                store: PhantomData,
            }),
        }
    }

    /// False when somebody else's writes conflict; nothing of the transaction took effect then.
    fn commit(mut self) -> Result<bool, StoreError> {
        self.end(false)
    }

    fn end(&mut self, abandon: bool) -> Result<bool, StoreError> {
        self.open = false;
        let end = self.api.xs_transaction_end;
        // SAFETY: valid handle, and a transaction that was started and not yet ended.
        match unsafe { end(self.handle.as_ptr(), self.transaction, abandon) } {
            true => Ok(true),
            false => match failed("commit", "") {
                e if e.errno() == Some(libc::EAGAIN) => Ok(false),
                e => Err(e),
            },
        }
    }
}

impl Deref for Transaction<'_> {
    type Target = Nodes;

    fn deref(&self) -> &Nodes {
        &self.nodes
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.end(true);
        }
    }
}
