//! Calls that wait for the program's work, on threads of their own: the driver knows no deadline. Where the work does not end, the
//! thread stays behind.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;

/// A call under way, or its answer.
pub struct Aside<T>(Arc<OnceLock<T>>);

impl<T: Send + Sync + 'static> Aside<T> {
    /// Starts `call` on a thread of the name.
    ///
    /// # Errors
    /// No thread.
    pub fn start(name: &str, call: impl FnOnce() -> T + Send + 'static) -> io::Result<Aside<T>> {
        let answer = Arc::new(OnceLock::new());
        let told = Arc::clone(&answer);
        let work = move || drop(told.set(call()));
        thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Aside(answer))
    }

    /// `None` while it is under way.
    pub fn answer(&self) -> Option<&T> {
        self.0.get()
    }
}
