//! Addresses that the driver does not give back.

use crate::Case;
use crate::rig::User;

/// They are asked for again; those that cannot be had are left to the driver. Two are asked for, at the first move: then they are kept.
#[test]
fn addresses_that_are_not_given_back() {
    let case = Case::new(User {
        arguments: &["100"],
        ..User::new("lists")
    });
    for (refused, is_left) in [
        (&[1][..], false),
        (&[2], false),
        (&[1, 2, 4], false),
        (&[1, 2, 3], true),
    ] {
        let rules = refused.iter().map(|nth| format!("refuse_address={nth},"));
        let done = case.moved("calls=25", &rules.collect::<String>());
        let said = format!("{refused:?}: {}", done.said());
        assert_eq!(done.answers("refuse_address", 0), refused.len(), "{said}");
        assert!(done.moves.moves > 0 && done.moves.failed == 0, "{said}");
        assert_eq!(said.contains("stay the driver's"), is_left, "{said}");
    }
}
