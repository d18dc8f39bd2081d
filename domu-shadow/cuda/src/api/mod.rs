//! The functions that are ours.
//!
//! | room | purpose |
//! |---|---|
//! | [`capturing`] | capturing streams into graphs |

pub mod capturing;
