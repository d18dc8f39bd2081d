//! `module-circles [FOLDER]`: prints the circles of modules in the crates at or below a folder. Status 1 if there are any, 2 for errors.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use xl_gpu_module_circles::{Error, circles, targets_below};

fn main() -> ExitCode {
    let dir = env::args_os().nth(1).unwrap_or(".".into());
    match print(dir.as_ref()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("module-circles: {error}");
            ExitCode::from(2)
        }
    }
}

/// Prints the circles and gives their number.
fn print(dir: &Path) -> Result<usize, Error> {
    let mut count = 0;
    let targets = targets_below(dir)?;
    for target in &targets {
        for circle in circles(&target.root)? {
            println!("{target}: {circle}");
            count += 1;
        }
    }
    println!("{count} circles in {} targets", targets.len());
    Ok(count)
}
