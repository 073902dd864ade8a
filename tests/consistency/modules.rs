//! The modules of the library depend downwards only: no two need each other, by however long a way.

use std::collections::{BTreeMap, BTreeSet};

use super::{files, read, root};

#[test]
fn modules_depend_downwards_only() {
    let mut needs = dependencies();
    assert!(needs["router"].contains("middleware"), "the dependencies are not read: {needs:?}");
    // Those that need nothing go, again and again: what is left stands in a circle or on one.
    while let Some(lowest) = needs.iter().find(|(_, needs)| needs.is_empty()).map(|(module, _)| module.clone()) {
        needs.remove(&lowest);
        for needed in needs.values_mut() {
            needed.remove(&lowest);
        }
    }
    assert!(needs.is_empty(), "modules of src/ need each other in a circle; one of these must not: {needs:#?}");
}

/// What each module of `src/lib.rs` names of the others, outside of tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let library = read(&root().join("src/lib.rs"));
    let modules: BTreeSet<_> =
        library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let mut needs: BTreeMap<String, BTreeSet<String>> =
        modules.iter().map(|module| ((*module).to_owned(), BTreeSet::new())).collect();
    for file in files("src", ".rs") {
        let place = file.strip_prefix(root().join("src")).unwrap();
        let first = place.iter().next().unwrap().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if !modules.contains(module) || place.to_str().unwrap().contains("tests") {
            continue;
        }
        let text = read(&file);
        // Unit tests stand at the end of a file, and may name whatever they like.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for named in line.split("crate::").skip(1) {
                let one = named.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                // `use crate::{one, other}`
                let several =
                    named.strip_prefix('{').map(|names| names.split(['}', ',']).map(str::trim)).into_iter().flatten();
                for name in several.chain([one]).filter(|name| *name != module && modules.contains(name)) {
                    needs.get_mut(module).unwrap().insert(name.to_owned());
                }
            }
        }
    }
    needs
}
