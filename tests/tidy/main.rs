//! The house rules that a machine can check: which crate may import which, what every source file opens
//! with, where `unsafe` may stand, and that no tracked file names a place of somebody's machine.

use std::fs::read_to_string;
use std::process::Command;

use tests_support::peers::repository;

/// Who may import whom among the crates of the chain, by folder.
const IMPORTS: [(&str, &[&str]); 5] = [
    ("storage-format", &[]),
    ("engine", &["storage-format"]),
    ("ingest", &["engine", "storage-format"]),
    ("query", &["engine", "storage-format"]),
    ("server", &["engine", "ingest", "query", "storage-format"]),
];

/// The modules where `unsafe` is allowed, each with its reason in the file.
const UNSAFE: [&str; 1] = ["engine/src/io/mmap.rs"];

/// Every file that belongs to the project, as a path from the repository's root.
fn tracked() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository())
        .output()
        .expect("git can be started");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let files: Vec<String> =
        list.lines().filter(|f| repository().join(f).is_file()).map(str::to_owned).collect();
    assert!(files.iter().any(|f| f == "Cargo.toml"), "the list of files is not the repository's");
    files
}

fn sources() -> Vec<(String, String)> {
    let rust = tracked().into_iter().filter(|f| f.ends_with(".rs"));
    rust.map(|f| (read_to_string(repository().join(&f)).expect("a source file is text"), f))
        .map(|(text, file)| (file, text))
        .collect()
}

/// The crates of the workspace that a manifest imports outside its tests.
fn workspace_imports(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.starts_with("dependencies") || section.starts_with("build-dependencies");
            continue;
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        if inside && IMPORTS.iter().any(|(folder, _)| *folder == name) {
            found.push(name.to_owned());
        }
    }
    found
}

#[test]
fn imports_go_one_way() {
    for (folder, allowed) in IMPORTS {
        let manifest = read_to_string(repository().join(folder).join("Cargo.toml")).expect("a manifest");
        for import in workspace_imports(&manifest) {
            assert!(allowed.contains(&import.as_str()), "{folder} must not import {import}");
        }
    }
}

#[test]
fn the_import_check_sees_what_a_manifest_imports() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nserver.workspace = true\nquery = { path = \"q\" }\n\
                    serde = \"1\"\n[dev-dependencies]\nengine.workspace = true\n";
    assert_eq!(workspace_imports(manifest), ["server", "query"]);
}

#[test]
fn cargo_run_starts_the_server() {
    let manifest = read_to_string(repository().join("Cargo.toml")).expect("a manifest");
    let line = manifest.lines().find(|l| l.starts_with("default-members")).unwrap_or_default();
    assert!(
        line.starts_with(r#"default-members = ["server"]"#),
        "`cargo run` would have to be told what to run"
    );
}

#[test]
fn every_source_file_says_what_it_is() {
    for (file, text) in sources() {
        assert!(text.starts_with("//! "), "{file} does not open with //!");
        let header = text.lines().take_while(|l| l.starts_with("//!")).count();
        assert!(header < 25, "{file} opens with {header} lines; fewer than 25 are read");
    }
}

/// The lines where `unsafe` opens a block, function, impl, trait or extern block.
fn unsafe_lines(text: &str) -> Vec<usize> {
    let opens = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices("unsafe").any(|(at, word)| {
            let rest = code[at + word.len()..].trim_start();
            let bounded = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"');
            bounded && ["{", "fn ", "impl", "trait ", "extern "].iter().any(|k| rest.starts_with(k))
        })
    };
    text.lines().enumerate().filter(|(_, line)| opens(line)).map(|(n, _)| n + 1).collect()
}

#[test]
fn unsafe_stands_only_where_it_is_listed() {
    for (file, text) in sources() {
        let lines = unsafe_lines(&text);
        assert!(
            lines.is_empty() || UNSAFE.contains(&file.as_str()),
            "{file} has unsafe code at lines {lines:?} and is not on the list"
        );
    }
}

#[test]
fn the_unsafe_check_sees_unsafe() {
    let word = "unsafe";
    let text = format!("// {word} {{\nlet x = {word} {{ y }};\n{word} fn f() {{}}\n#![deny({word}_code)]\n");
    assert_eq!(unsafe_lines(&text), [2, 3]);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    for file in tracked() {
        let Ok(text) = read_to_string(repository().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for place in places {
                assert!(!line.contains(place), "{file}:{}: names {place}: {line}", number + 1);
            }
        }
    }
}
