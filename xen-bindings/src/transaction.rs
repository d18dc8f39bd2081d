//! The part of XenStore's interface that works inside a transaction.

use crate::error::StoreError;
use crate::store::Store;

/// An open transaction of [`Store::transaction`]: sees the store as it was at the start, and its own writes.
#[derive(Debug)]
pub struct Transaction<'a> {
    store: &'a Store,
    id: u32,
    open: bool,
}

impl<'a> Transaction<'a> {
    pub(crate) fn start(store: &'a Store) -> Result<Self, StoreError> {
        Ok(Self {
            store,
            id: store.transaction_start()?,
            open: true,
        })
    }

    /// False when somebody else's writes conflict; nothing of the transaction took effect then.
    pub(crate) fn commit(mut self) -> Result<bool, StoreError> {
        self.open = false;
        self.store.transaction_end(self.id, false)
    }

    /// As [`Store::read`].
    ///
    /// # Errors
    /// What the store answered.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.read_in(self.id, path)
    }

    /// As [`Store::read_text`].
    ///
    /// # Errors
    /// What the store answered, or [`StoreError::NotText`].
    pub fn read_text(&self, path: &str) -> Result<Option<String>, StoreError> {
        self.store.read_text_in(self.id, path)
    }

    /// As [`Store::write`].
    ///
    /// # Errors
    /// What the store answered.
    pub fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result<(), StoreError> {
        self.store.write_in(self.id, path, value.as_ref())
    }

    /// As [`Store::mkdir`].
    ///
    /// # Errors
    /// What the store answered.
    pub fn mkdir(&self, path: &str) -> Result<(), StoreError> {
        self.store.mkdir_in(self.id, path)
    }

    /// As [`Store::remove`].
    ///
    /// # Errors
    /// What the store answered.
    pub fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.store.remove_in(self.id, path)
    }

    /// As [`Store::directory`].
    ///
    /// # Errors
    /// What the store answered.
    pub fn directory(&self, path: &str) -> Result<Vec<String>, StoreError> {
        self.store.directory_in(self.id, path)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            let _ = self.store.transaction_end(self.id, true);
        }
    }
}
