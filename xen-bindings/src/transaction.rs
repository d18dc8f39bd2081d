//! The part of XenStore's interface that works inside a transaction.

use crate::error::StoreError;
use crate::store::Store;

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

/// An open transaction of [`Store::transaction`]: sees the store as it was at the start, and its own writes.
#[derive(Debug)]
pub struct Transaction<'a> {
    store: &'a Store,
    id: u32,
    open: bool,
}

impl<'a> Transaction<'a> {
    fn start(store: &'a Store) -> Result<Self, StoreError> {
        Ok(Self {
            store,
            id: store.transaction_start()?,
            open: true,
        })
    }

    /// False when somebody else's writes conflict; nothing of the transaction took effect then.
    fn commit(mut self) -> Result<bool, StoreError> {
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
