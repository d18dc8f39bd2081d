//! How many pages of guests dom0 maps at a time.
//!
//! Every mapped page takes entries of dom0's maptrack table in Xen (two of 262144 where dom0 is paravirtual) and a page of
//! dom0's own to stand for it. What one guest could use up the others, and dom0's backends, would lack.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use channel::layout::MAX_PAGES;

/// Most pages of all sessions of a domain together: what a guest's grant table of default size holds.
pub const DOMAIN_PAGES: usize = MAX_PAGES;

/// The pages would be too many.
#[derive(Debug, thiserror::Error)]
pub enum TooMany {
    /// For one guest.
    #[error(
        "its {wanted} pages cannot be mapped beside the {used} of other sessions of its domain: {DOMAIN_PAGES} is the most; have its programs share fewer (XL_GPU_PAGES)"
    )]
    OfDomain {
        /// Pages asked for.
        wanted: usize,
        /// Pages that are mapped of the domain.
        used: usize,
    },
    /// For dom0.
    #[error(
        "its {wanted} pages cannot be mapped beside the {used} of other sessions on this host: channel_pages in xl-gpu.conf is {limit}; try again when another migration is over, or raise it"
    )]
    OfHost {
        /// Pages asked for.
        wanted: usize,
        /// Pages that are mapped.
        used: usize,
        /// The most there may be.
        limit: usize,
    },
}

#[derive(Debug, Default)]
struct Used {
    all: usize,
    by_domain: BTreeMap<u16, usize>,
}

/// The pages of all guests. Clones share it.
#[derive(Debug, Clone)]
pub struct Pages {
    limit: usize,
    used: Arc<Mutex<Used>>,
}

impl Pages {
    /// None mapped yet; `limit` is the most for all guests together.
    pub fn new(limit: usize) -> Self {
        Pages {
            limit,
            used: Arc::default(),
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes `wanted` pages of domain `domid`, all or none, until the result is dropped.
    pub fn take(&self, domid: u16, wanted: usize) -> Result<Taken, TooMany> {
        let mut used = self.used();
        let of_domain = used.by_domain.get(&domid).copied().unwrap_or(0);
        if wanted > DOMAIN_PAGES.saturating_sub(of_domain) {
            let used = of_domain;
            return Err(TooMany::OfDomain { wanted, used });
        }
        if wanted > self.limit.saturating_sub(used.all) {
            let (used, limit) = (used.all, self.limit);
            return Err(TooMany::OfHost {
                wanted,
                used,
                limit,
            });
        }
        used.all += wanted;
        used.by_domain.insert(domid, of_domain + wanted);
        Ok(Taken {
            pages: self.clone(),
            domid,
            count: wanted,
        })
    }
}

/// Pages that may be mapped.
#[derive(Debug)]
pub struct Taken {
    pages: Pages,
    domid: u16,
    count: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut used = self.pages.used();
        used.all -= self.count;
        let of_domain = used.by_domain.entry(self.domid).or_default();
        *of_domain -= self.count;
        if *of_domain == 0 {
            used.by_domain.remove(&self.domid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_its_share_and_no_more() {
        let pages = Pages::new(10 * DOMAIN_PAGES);
        let most = pages.take(1, DOMAIN_PAGES - 5).unwrap();
        let error = pages.take(1, 6).unwrap_err();
        assert!(matches!(error, TooMany::OfDomain { wanted: 6, .. }));
        assert!(error.to_string().contains("XL_GPU_PAGES"), "{error}");
        let rest = pages.take(1, 5).unwrap();
        assert!(pages.take(2, DOMAIN_PAGES).is_ok(), "another one's");
        drop(most);
        pages.take(1, DOMAIN_PAGES - 5).unwrap();
        drop(rest);
        assert!(pages.used().by_domain.is_empty());
    }

    #[test]
    fn all_domains_together_have_the_host_s() {
        let pages = Pages::new(100);
        let first = pages.take(1, 60).unwrap();
        let error = pages.take(2, 41).unwrap_err();
        assert!(error.to_string().contains("channel_pages"), "{error}");
        let _second = pages.take(2, 40).unwrap();
        drop(first);
        pages.take(3, 60).unwrap();
    }
}
