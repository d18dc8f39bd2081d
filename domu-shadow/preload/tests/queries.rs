//! All queries of one object of each kind, through the plain ICD loader and through the shadow: the same answers.
//!
//! Needs a C compiler, OpenCL's headers, an ICD loader and a driver.

mod common;

use common::native;

#[test]
fn queries_answer_as_through_a_plain_loader() {
    let program = native::compile("queries.c");
    let library = native::library_folder();
    let lines = |shadow| {
        let output = native::command(program.path(), shadow).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (plain, shadow) = (lines(None), lines(Some(&library)));
    assert!(plain.len() > 150, "{plain:?}");
    let both = plain.iter().zip(&shadow);
    let differing: Vec<_> = both.filter(|(plain, shadow)| plain != shadow).collect();
    assert!(differing.is_empty(), "{differing:#?}");
    assert_eq!(plain.len(), shadow.len());
}
