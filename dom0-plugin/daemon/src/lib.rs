//! `xl-gpud`: finds the GPU sessions of guests, captures them, keeps their images, serves them.
//!
//! ```text
//!   helper, CLI                    operations                            guests
//!  ─────────────   ┌───────────────────────────────────────┐   ────────────────────────
//!   socket.rs ───> │ migrate/    receive/     manual.rs    │
//!   one thread     │      │           │          │         │    carrier.rs: XenStore and
//!   each           │      └─ capture.rs ── session.rs ─────┼──> grants (xen/), or memfds
//!                  │              │ capture_sink.rs        │    (loopback.rs)
//!                  │              v                        │
//!                  │          images.rs (spool)            │
//!                  │              │                        │
//!   events.rs ───> │          serve/ ──────────────────────┼──> detached sessions
//!                  └───────────────────────────────────────┘
//! ```
//!
//! From the bottom up; no module imports one that imports it:
//!
//! | room | what is done there |
//! |---|---|
//! | [`config`], [`settings`] | what `xl-gpu.conf` says, and what of it the daemon goes by |
//! | [`carrier`] | how sessions are met: by Xen ([`xen`]) or on this machine ([`loopback`]) |
//! | [`passthrough`] | PCI devices: detached before a domain leaves, attached before it is served |
//! | [`images`] | images kept, by domain, and what for |
//! | [`domain_lock`] | one thing at a time with a domain |
//! | [`publisher`] | what is told of a domain in XenStore |
//! | [`laps`], [`reports`], [`ram_report`] | where the time of a migration went |
//! | [`history`], [`tallies`] | what is kept and counted of those that are over |
//! | [`rounds`], [`cost_model`] | when pre-copy is over, by what a stop would cost |
//! | [`steering`], [`moving`] | a migration under way, and the operator's orders to it; all of them |
//! | [`capture_sink`] | where captured bytes go: image and stream |
//! | [`image_source`] | an image as a session fetches it |
//! | [`session`], [`capture`], [`peers`] | one session while it is captured; all of a domain ([`parallel`]); which those are |
//! | [`restore`] | one session that gets its image back |
//! | [`serve`] | images given back: whoever resumes a guest serves it |
//! | [`doctor`] | why a domain could not migrate |
//! | [`daemon`] | the services above, wired up for the operations below |
//! | [`migrate`], [`receive`] | the two ends of a save or migration |
//! | [`rehearse`], [`manual`], [`status`], [`idle`] | what the command line and XenStore nodes ask for |
//! | [`bare_save`] | saves that run without the plugin |
//! | [`conversation`], [`socket`], [`events`] | who asks |
//! | [`metrics`] | Prometheus, if it may |
//!
//! Threads, no async: one for events, one for each connection, one for each session while it is worked on.
//! [`domain_lock`] keeps them from meeting in one domain.

pub mod bare_save;
pub mod capture;
pub mod capture_sink;
pub mod carrier;
pub mod config;
pub mod conversation;
pub mod cost_model;
pub mod daemon;
pub mod doctor;
pub mod domain_lock;
pub mod driver_costs;
pub mod events;
pub mod history;
pub mod idle;
pub mod image_source;
pub mod images;
pub mod laps;
pub mod loopback;
pub mod manual;
pub mod metrics;
pub mod migrate;
pub mod moving;
pub mod notice;
pub mod parallel;
pub mod passthrough;
pub mod peers;
pub mod publisher;
pub mod ram_report;
pub mod receive;
pub mod rehearse;
pub mod reports;
pub mod restore;
pub mod rounds;
pub mod serve;
pub mod session;
pub mod settings;
pub mod socket;
pub mod status;
pub mod steering;
pub mod stopping;
pub mod tallies;
pub mod xen;
