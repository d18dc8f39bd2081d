//! The daemon from its socket to the programs' bytes: real conversations, real streams, fake GPUs.

mod aborts;
mod bare_saves;
mod chips;
mod departures;
mod doctor;
mod history;
mod homecomings;
mod host;
mod hostile;
mod hvm;
mod idle;
mod left_to_driver;
mod locks;
mod manual;
mod messages;
mod migration;
mod phases;
mod program;
mod restart;
mod schema;
mod session;
mod steering;
mod together;
mod toolstack;
mod versions;
