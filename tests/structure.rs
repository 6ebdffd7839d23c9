//! The shape of the source: imports point downward only, files stay small, the
//! folders are where the map says.

use std::path::{Path, PathBuf};

/// A file longer than this holds more than one thing.
const LONGEST: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under `src`, in a stable order.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![root().join("src")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The modules of `src/lib.rs` from the lowest layer to the highest.
fn layers() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// The top-level module a file belongs to; `None` for the crate's own roots.
fn layer_of(file: &Path) -> Option<String> {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap();
    let name = Path::new(first.as_os_str())
        .file_stem()
        .unwrap()
        .to_string_lossy();
    (name != "lib" && name != "main").then(|| name.into_owned())
}

/// Replaces comments and the contents of literals by spaces; lines stay lines.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = literal_or_comment(rest);
        if skipped > 0 {
            code.extend(
                rest[..skipped]
                    .chars()
                    .map(|c| if c == '\n' { '\n' } else { ' ' }),
            );
            rest = &rest[skipped..];
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    code
}

/// How many bytes of a comment or a string literal begin here; 0 for code.
fn literal_or_comment(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return text.find("*/").map_or(text.len(), |end| end + 2);
    }
    // A quote as a char literal would open a string that never ends.
    for quote in ["'\"'", "'\\\"'", "b'\"'"] {
        if text.starts_with(quote) {
            return quote.len();
        }
    }
    if let Some(raw) = text.strip_prefix("r") {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let begin = 1 + hashes + 1;
            let end = text[begin..]
                .find(&close)
                .map_or(text.len(), |at| begin + at);
            return (end + close.len()).min(text.len());
        }
    }
    if !text.starts_with('"') {
        return 0;
    }
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The modules named as `crate::module` or in `use crate::{…}`, with line numbers.
fn used_modules(code: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let path = &code[at + "crate::".len()..];
        for name in first_names(path) {
            used.push((line, name));
        }
    }
    used
}

/// The first name of a path, or of each path in a braced list.
fn first_names(path: &str) -> Vec<String> {
    let Some(list) = path.strip_prefix('{') else {
        return identifier(path).into_iter().collect();
    };
    let mut names = Vec::new();
    let mut depth = 1;
    let mut expected = true;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => expected = true,
            c if expected && (c.is_alphabetic() || c == '_') => {
                names.extend(identifier(&list[at..]));
                expected = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// Every import of a module that lies above the importing one, as `file:line`.
fn upward_imports(layers: &[String], layer: &str, file: &str, text: &str) -> Vec<String> {
    let level = |name: &str| layers.iter().position(|l| l == name);
    let Some(own) = level(layer) else {
        return vec![format!("{file}: `{layer}` is not declared in src/lib.rs")];
    };
    used_modules(&code_only(text))
        .into_iter()
        .filter(|(_, name)| level(name).is_some_and(|other| other > own))
        .map(|(line, name)| {
            format!("{file}:{line}: `{layer}` imports `{name}`, which lies above it")
        })
        .collect()
}

#[test]
fn imports_point_downward_only() {
    let layers = layers();
    assert!(layers.len() > 10, "src/lib.rs declares its modules");
    let mut found = Vec::new();
    for file in sources() {
        let Some(layer) = layer_of(&file) else {
            continue;
        };
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        found.extend(upward_imports(&layers, &layer, &name, &text));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn an_upward_import_is_found_wherever_it_stands() {
    let layers: Vec<String> = ["low", "middle", "high"].map(str::to_owned).into();
    let found = |text: &str| upward_imports(&layers, "middle", "f.rs", text);
    for (text, line) in [
        ("use crate::high::Thing;", 1),
        ("use crate::{low, high::{A, B}};", 1),
        ("fn f() {\n    crate::high::g();\n}", 2),
        ("pub(in crate::high) fn f() {}", 1),
        ("#[cfg(test)]\nmod tests {\n    use crate::high;\n}", 3),
    ] {
        let expected = format!("f.rs:{line}: `middle` imports `high`, which lies above it");
        assert_eq!(found(text), [expected], "{text}");
    }
    for text in [
        "use crate::low::Thing; use crate::middle::Other;",
        "use crate::{low::{high}, middle};",
        "// crate::high\n/// crate::high\nlet s = \"crate::high\"; /* crate::high */",
        "let s = r#\"a \" crate::high\"#; let q = '\"';",
        "use othercrate::high;",
    ] {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn no_source_file_is_too_long_to_hold_in_the_head() {
    let mut long = Vec::new();
    for file in sources() {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        if lines > LONGEST {
            long.push(format!("{}: {lines} lines", file.display()));
        }
    }
    assert!(
        long.is_empty(),
        "split these, {LONGEST} lines are the most:\n{}\n",
        long.join("\n")
    );
}

#[test]
fn the_folders_of_the_map_are_there() {
    for name in [
        "src",
        "tests",
        "docs",
        "migrations",
        "transforms",
        "dashboards",
        "scripts",
    ] {
        assert!(root().join(name).is_dir(), "{name}/ is missing");
    }
    for layer in layers() {
        let src = root().join("src");
        let folder = src.join(&layer).join("mod.rs").is_file();
        assert!(
            folder || src.join(format!("{layer}.rs")).is_file(),
            "module `{layer}` of src/lib.rs has neither a file nor a folder"
        );
    }
}
