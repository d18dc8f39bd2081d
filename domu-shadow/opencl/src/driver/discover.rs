//! Which vendor libraries there are, by the rules of the ICD loaders that programs are used to.
//!
//! * `OCL_ICD_FILENAMES` (Khronos): library names separated by `:`, looked at first.
//! * `OCL_ICD_VENDORS` (both loaders): another folder of `.icd` files, one `.icd` file, or (ocl-icd) a library.
//! * else `/etc/OpenCL/vendors/*.icd`, in the order of their names.

use runtime::trusted_env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const VENDORS: &str = "/etc/OpenCL/vendors";

/// The vendor libraries to open, in order, each once.
pub fn libraries() -> Vec<OsString> {
    from(
        trusted_env::var_os("OCL_ICD_FILENAMES"),
        trusted_env::var_os("OCL_ICD_VENDORS"),
    )
}

fn from(file_names: Option<OsString>, vendors: Option<OsString>) -> Vec<OsString> {
    let mut found: Vec<OsString> = file_names
        .iter()
        .flat_map(|names| names.as_bytes().split(|&byte| byte == b':'))
        .filter(|name| !name.is_empty())
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect();
    let vendors = vendors
        .filter(|value| !value.is_empty())
        .map_or_else(|| PathBuf::from(VENDORS), PathBuf::from);
    if vendors.is_dir() {
        found.extend(folder(&vendors));
    } else if vendors
        .extension()
        .is_some_and(|extension| extension == "icd")
    {
        found.extend(icd_file(&vendors));
        if !vendors.exists() {
            found.extend(icd_file(&Path::new(VENDORS).join(&vendors)));
        }
    } else if vendors != Path::new(VENDORS) {
        found.push(vendors.into_os_string());
    }
    let mut once = Vec::new();
    for library in found {
        if !once.contains(&library) {
            once.push(library);
        }
    }
    once
}

fn folder(path: &Path) -> Vec<OsString> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "icd"))
        .collect();
    files.sort();
    files.iter().filter_map(|file| icd_file(file)).collect()
}

/// The library that an `.icd` file names on its first line.
fn icd_file(path: &Path) -> Option<OsString> {
    let content = fs::read(path).ok()?;
    let line = content.split(|&byte| byte == b'\n').next()?.trim_ascii();
    (!line.is_empty()).then(|| OsString::from_vec(line.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_file_name_folder_and_icd_file() {
        let folder = std::env::temp_dir().join(format!("xl-gpu-icd-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("b.icd"), "libb.so.1\n").unwrap();
        fs::write(folder.join("a.icd"), "  /opt/liba.so\nrest").unwrap();
        fs::write(folder.join("empty.icd"), "\n").unwrap();
        fs::write(folder.join("c.txt"), "libc.so\n").unwrap();
        let in_folder = from(None, Some(folder.clone().into_os_string()));
        let named = from(
            Some("x.so::y.so:x.so".into()),
            Some(folder.join("b.icd").into_os_string()),
        );
        let library = from(None, Some("/opt/libpocl.so".into()));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(in_folder, ["/opt/liba.so", "libb.so.1"]);
        assert_eq!(named, ["x.so", "y.so", "libb.so.1"]);
        assert_eq!(library, ["/opt/libpocl.so"]);
    }
}
