//! What the documents say is what the program takes.

fn text(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).unwrap()
}

/// Command lines, without what the shell adds around them.
fn commands(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim().trim_start_matches("run: ");
            let line = line.split(['#', '>']).next().unwrap_or_default().trim();
            line.starts_with("crossfade migrate")
                .then(|| line.replace("\"$MIGRATIONS\"", "migrations"))
        })
        .collect()
}

#[test]
fn every_command_line_of_the_documents_is_understood() {
    for (path, least) in [("docs/migrate.md", 6), ("docs/ci/migrations.yml", 2)] {
        let commands = commands(&text(path));
        assert!(commands.len() >= least, "{path}: {commands:?}");
        for command in commands {
            let words = command.split_whitespace();
            let parsed = crossfade::cli::command().try_get_matches_from(words);
            assert!(parsed.is_ok(), "{path}: {command}: {}", parsed.unwrap_err());
        }
    }
}

#[test]
fn every_rule_class_option_and_comment_is_described() {
    use crossfade::migrate::check::Class;
    let page = text("docs/migrate.md");
    for (rule, _) in crossfade::migrate::lint::RULES {
        assert!(page.contains(rule) || *rule == "syntax", "{rule}");
    }
    for class in [
        Class::Exact,
        Class::Irreversible,
        Class::ColumnOrder,
        Class::LosesData,
        Class::Broken,
    ] {
        assert!(
            page.contains(&format!("| {} |", class.name())),
            "{}",
            class.name()
        );
    }
    let migrate = crossfade::cli::command();
    let migrate = migrate.find_subcommand("migrate").unwrap();
    for verb in migrate.get_subcommands().filter(|v| v.get_name() != "help") {
        for option in verb.get_arguments().filter_map(|a| a.get_long()) {
            let known = ["help", "sections", "config", "output"].contains(&option);
            assert!(known || page.contains(&format!("--{option}")), "--{option}");
        }
    }
}
