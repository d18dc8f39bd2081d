//! `xl-gpu doctor` without a domain: this host.
