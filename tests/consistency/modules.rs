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
        let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for name in named(&code).into_iter().filter(|name| name != module && modules.contains(name.as_str())) {
            needs.get_mut(module).unwrap().insert(name);
        }
    }
    needs
}

/// The modules that a text names behind `crate::`, those of `use crate::{one, other::{a, b}}` among them.
fn named(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let mut depth = 0;
        for (at, c) in rest.char_indices() {
            let begins = at == 0 || rest[..at].trim_end().ends_with(['{', ',']);
            if depth <= 1 && begins && c.is_alphabetic() {
                names.insert(rest[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            }
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth <= 0 && !(c.is_alphanumeric() || c == '_') {
                break;
            }
        }
    }
    names
}

#[test]
fn names_are_found_however_they_are_written() {
    let code =
        "use crate::one;\nuse crate::{\n    two::{a, b},\n    three,\n};\nlet x = crate::four::five(six, seven);";
    assert_eq!(named(code), ["four", "one", "three", "two"].map(str::to_owned).into());
}
