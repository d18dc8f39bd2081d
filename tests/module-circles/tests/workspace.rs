//! No module of this workspace refers to what refers to it.

use xl_gpu_module_circles::{circles, targets_below};

#[test]
fn the_workspace_has_no_circles() {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut found = String::new();
    for target in targets_below(workspace.as_ref()).unwrap() {
        for circle in circles(&target.root).unwrap() {
            found += &format!("{target}: {circle}\n");
        }
    }
    assert!(found.is_empty(), "{found}");
}
