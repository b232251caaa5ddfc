//! The README's map names every folder at the top.

use std::collections::BTreeSet;

use super::Finding;
use crate::workspace::File;

/// Looks for each top folder, written `folder/`, in README.md.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let Some(readme) = files.iter().find(|file| file.path == "README.md") else {
        return vec![Finding::new("README.md", "is missing")];
    };
    let folders: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.path.split_once('/'))
        .map(|(folder, _)| folder)
        .filter(|folder| !folder.starts_with('.'))
        .collect();
    folders
        .into_iter()
        .filter(|folder| !readme.text.contains(&format!("`{folder}/`")))
        .map(|folder| Finding::new("README.md", format!("does not say what `{folder}/` is")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_folder_that_the_map_leaves_out_is_found() {
        let files = [file("README.md", "`abi/` holds rows"), file("abi/src/lib.rs", ""), file("plan/src/lib.rs", "")];
        assert_eq!(check(&files), vec![Finding::new("README.md", "does not say what `plan/` is")]);
        assert_eq!(check(&files[..2]), vec![]);
    }

    #[test]
    fn folders_of_tools_need_no_word() {
        assert_eq!(check(&[file("README.md", ""), file(".cargo/config.toml", "")]), vec![]);
    }

    #[test]
    fn a_missing_readme_is_found() {
        assert_eq!(check(&[]).len(), 1);
    }
}
