//! A statement's syntax tree read into operations.

use squawk_syntax::{SyntaxKind as K, SyntaxNode};

use super::operation::{ConstraintKind, NewColumn, NewConstraint, ObjectKind, Operation};
use super::statement::Name;
use super::tree::{all_named, child, children, has, has_word, name, named, text, word};

const TABLES: &[K] = &[K::TABLE_NAME_REF, K::RELATION_NAME_REF];

/// What a statement's node does; each with the byte where it begins in the statement.
pub(super) fn read(node: &SyntaxNode) -> Vec<(usize, Operation)> {
    if matches!(node.kind(), K::ALTER_TABLE | K::ALTER_FOREIGN_TABLE) {
        return alter_table(node);
    }
    let at = usize::from(node.text_range().start());
    single(node)
        .into_iter()
        .map(|operation| (at, operation))
        .collect()
}

fn alter_table(node: &SyntaxNode) -> Vec<(usize, Operation)> {
    let Some(table) = named(node, TABLES) else {
        return Vec::new();
    };
    node.children()
        .filter(|c| !matches!(c.kind(), K::TABLE_RELATION_NAME | K::IF_EXISTS))
        .map(|c| {
            let at = c
                .children_with_tokens()
                .find(|e| !e.kind().is_trivia())
                .map_or(c.text_range().start(), |e| e.text_range().start());
            (usize::from(at), action(&table, &c))
        })
        .collect()
}

fn action(table: &Name, node: &SyntaxNode) -> Operation {
    let table = table.clone();
    let column = || word(node, K::COLUMN_NAME_REF).unwrap_or_default();
    match node.kind() {
        K::ADD_COLUMN => Operation::AddColumn {
            column: new_column(node),
            table,
        },
        K::DROP_COLUMN => Operation::DropColumn {
            column: column(),
            cascade: has(node, K::CASCADE),
            table,
        },
        K::RENAME_COLUMN => Operation::RenameColumn {
            from: column(),
            to: word(node, K::COLUMN_NAME).unwrap_or_default(),
            table,
        },
        K::ALTER_COLUMN => alter_column(table, column(), node),
        K::ADD_CONSTRAINT => node
            .children()
            .find_map(|c| new_constraint(&c))
            .map(|constraint| Operation::AddConstraint {
                table: table.clone(),
                constraint,
            })
            .unwrap_or(Operation::AlterTable { table }),
        K::VALIDATE_CONSTRAINT => Operation::ValidateConstraint {
            constraint: word(node, K::CONSTRAINT_NAME_REF).unwrap_or_default(),
            table,
        },
        K::DROP_CONSTRAINT => Operation::DropConstraint {
            constraint: word(node, K::CONSTRAINT_NAME_REF).unwrap_or_default(),
            table,
        },
        K::ATTACH_PARTITION | K::DETACH_PARTITION => {
            let Some(partition) = named(node, TABLES) else {
                return Operation::AlterTable { table };
            };
            if node.kind() == K::ATTACH_PARTITION {
                return Operation::AttachPartition { table, partition };
            }
            Operation::DetachPartition {
                concurrently: has(node, K::DETACH_CONCURRENTLY),
                table,
                partition,
            }
        }
        K::TABLE_RENAME_TO => Operation::Rename {
            kind: ObjectKind::Table,
            from: table,
            to: word(node, K::TABLE_NAME).unwrap_or_default(),
        },
        K::SET_SCHEMA => Operation::SetSchema {
            kind: ObjectKind::Table,
            name: table,
            schema: word(node, K::SCHEMA_REF).unwrap_or_default(),
        },
        K::SET_LOGGED | K::SET_UNLOGGED | K::SET_TABLESPACE | K::SET_ACCESS_METHOD => {
            Operation::Rewrite {
                table,
                what: text(node).to_uppercase(),
            }
        }
        K::SET_OPTIONS | K::RESET_OPTIONS | K::CLUSTER_ON | K::SET_WITHOUT_CLUSTER => {
            Operation::SetOptions { table }
        }
        K::ENABLE_TRIGGER
        | K::DISABLE_TRIGGER
        | K::ENABLE_ALWAYS_TRIGGER
        | K::ENABLE_REPLICA_TRIGGER => Operation::Trigger {
            table,
            name: None,
            drop: false,
        },
        _ => Operation::AlterTable { table },
    }
}

fn alter_column(table: Name, column: String, node: &SyntaxNode) -> Operation {
    if let Some(set) = child(node, K::SET_TYPE) {
        let using = child(&set, K::USING_EXPR);
        let written = text(&set);
        let ty = match &using {
            Some(using) => written.trim_end_matches(&text(using)),
            None => &written,
        };
        let lower = ty.to_lowercase();
        let cut = lower.find("type").map_or(0, |at| at + 4);
        return Operation::AlterType {
            table,
            column,
            ty: ty[cut..].trim().to_owned(),
            using: using.map(|u| text(&u)),
        };
    }
    if has(node, K::SET_NOT_NULL) {
        return Operation::SetNotNull { table, column };
    }
    if has(node, K::DROP_NOT_NULL) {
        return Operation::DropNotNull { table, column };
    }
    if has(node, K::SET_DEFAULT) || has(node, K::DROP_DEFAULT) {
        return Operation::SetDefault { table, column };
    }
    if has(node, K::SET_STATISTICS) {
        return Operation::SetStatistics { table };
    }
    Operation::AlterTable { table }
}

fn new_column(node: &SyntaxNode) -> NewColumn {
    let constraints: Vec<NewConstraint> = node
        .descendants()
        .filter_map(|c| new_constraint(&c))
        .collect();
    let ty = node
        .children()
        .find(|c| format!("{:?}", c.kind()).ends_with("_TYPE"))
        .map(|c| text(&c))
        .unwrap_or_default();
    let find = |kind: K| node.descendants().find(|n| n.kind() == kind);
    let default = find(K::DEFAULT_CONSTRAINT).map(|n| {
        let written = text(&n);
        let at = written
            .to_lowercase()
            .find("default")
            .map_or(0, |at| at + 7);
        written[at..].trim().to_owned()
    });
    let not_null = constraints
        .iter()
        .any(|c| matches!(c.kind, ConstraintKind::NotNull | ConstraintKind::PrimaryKey));
    let kinds: Vec<String> = node
        .descendants()
        .map(|n| format!("{:?}", n.kind()))
        .collect();
    let identity = text(node).to_lowercase().contains("as identity");
    NewColumn {
        name: word(node, K::COLUMN_NAME).unwrap_or_default(),
        ty,
        not_null,
        default,
        generated: !identity && kinds.iter().any(|k| k.starts_with("GENERATED")),
        identity,
        constraints,
    }
}

fn new_constraint(node: &SyntaxNode) -> Option<NewConstraint> {
    let kind = match node.kind() {
        K::CHECK_CONSTRAINT => ConstraintKind::Check,
        K::NOT_NULL_CONSTRAINT => ConstraintKind::NotNull,
        K::UNIQUE_CONSTRAINT => ConstraintKind::Unique,
        K::PRIMARY_KEY_CONSTRAINT => ConstraintKind::PrimaryKey,
        K::EXCLUDE_CONSTRAINT => ConstraintKind::Exclude,
        K::FOREIGN_KEY_CONSTRAINT | K::REFERENCES_CONSTRAINT => ConstraintKind::ForeignKey,
        _ => return None,
    };
    Some(NewConstraint {
        name: named(node, &[K::CONSTRAINT_NAME]).map(|n| n.name),
        references: (kind == ConstraintKind::ForeignKey)
            .then(|| named(node, &[K::TABLE_NAME_REF]))
            .flatten(),
        not_valid: has(node, K::NOT_VALID),
        using_index: has(node, K::USING_INDEX_NAME),
        definition: text(node),
        kind,
    })
}

fn single(node: &SyntaxNode) -> Vec<Operation> {
    let table = || named(node, TABLES);
    let one = |operation: Option<Operation>| operation.into_iter().collect();
    match node.kind() {
        K::CREATE_TABLE => one(create_table(node)),
        K::CREATE_TABLE_AS => {
            one(
                named(node, &[K::TABLE_NAME]).map(|table| Operation::CreateTable {
                    table,
                    columns: Vec::new(),
                    constraints: Vec::new(),
                    partition_of: None,
                    if_not_exists: has(node, K::IF_NOT_EXISTS),
                }),
            )
        }
        K::CREATE_INDEX => {
            one(
                named(node, &[K::TABLE_NAME_REF]).map(|table| Operation::CreateIndex {
                    index: child(node, K::INDEX).and_then(|n| name(&n)),
                    table,
                    unique: has_word(node, "unique"),
                    concurrently: has_word(node, "concurrently"),
                }),
            )
        }
        K::DROP_INDEX => all_named(node, &[K::INDEX_REF])
            .into_iter()
            .map(|index| Operation::DropIndex {
                index,
                concurrently: has_word(node, "concurrently"),
            })
            .collect(),
        K::REINDEX => one(reindex(node)),
        K::CREATE_VIEW | K::CREATE_MATERIALIZED_VIEW => one(child(node, K::VIEW)
            .and_then(|n| name(&n))
            .map(|view| Operation::CreateView {
                view,
                replace: has(node, K::OR_REPLACE),
            })),
        K::REFRESH => one(named(node, &[K::VIEW_REF]).map(|view| Operation::Refresh {
            view,
            concurrently: has_word(node, "concurrently"),
        })),
        K::CREATE_FUNCTION | K::CREATE_PROCEDURE => one(named(
            node,
            &[K::FUNCTION_NAME, K::PROCEDURE_NAME],
        )
        .map(|routine| Operation::CreateRoutine {
            routine,
            replace: has(node, K::OR_REPLACE),
        })),
        K::CREATE_TRIGGER | K::DROP_TRIGGER => one(table().map(|table| Operation::Trigger {
            table,
            name: named(node, &[K::TRIGGER, K::TRIGGER_REF]).map(|n| n.name),
            drop: node.kind() == K::DROP_TRIGGER,
        })),
        K::CREATE_POLICY | K::ALTER_POLICY | K::DROP_POLICY => {
            one(table().map(|table| Operation::Policy {
                table,
                name: named(node, &[K::POLICY, K::POLICY_REF]).map(|n| n.name),
                drop: node.kind() == K::DROP_POLICY,
            }))
        }
        K::TRUNCATE => vec![Operation::Truncate {
            tables: all_named(node, TABLES),
        }],
        K::LOCK => vec![Operation::LockTable {
            tables: all_named(node, TABLES),
            mode: child(node, K::LOCK_MODE_CLAUSE).map_or_else(
                || "ACCESS EXCLUSIVE".to_owned(),
                |mode| lock_mode(&text(&mode)),
            ),
        }],
        K::VACUUM | K::CLUSTER => {
            let full = node.kind() == K::CLUSTER
                || text(node)
                    .to_lowercase()
                    .split(|c: char| !c.is_alphabetic())
                    .any(|w| w == "full");
            vec![if full {
                Operation::Repack { table: table() }
            } else {
                Operation::Vacuum { table: table() }
            }]
        }
        K::UPDATE | K::DELETE | K::INSERT | K::MERGE => one(write(node)),
        K::BEGIN => vec![Operation::Transaction("BEGIN")],
        K::CALL => vec![Operation::Call],
        K::DO => vec![Operation::Do],
        K::SET | K::RESET => {
            one(named(node, &[K::CONFIG_PARAMETER_REF])
                .map(|n| Operation::Set { parameter: n.name }))
        }
        K::CREATE_DATABASE
        | K::DROP_DATABASE
        | K::CREATE_TABLESPACE
        | K::DROP_TABLESPACE
        | K::ALTER_SYSTEM
        | K::CREATE_SUBSCRIPTION
        | K::DROP_SUBSCRIPTION => {
            vec![Operation::NeverInTransaction]
        }
        _ => other(node),
    }
}

/// `in share row exclusive mode` → `SHARE ROW EXCLUSIVE`.
fn lock_mode(text: &str) -> String {
    let upper = text.to_uppercase();
    let mode = upper
        .trim()
        .trim_start_matches("IN ")
        .trim_end_matches(" MODE");
    mode.trim().to_owned()
}

fn create_table(node: &SyntaxNode) -> Option<Operation> {
    let arguments = child(node, K::TABLE_ARG_LIST);
    let of = child(node, K::PARTITION_OF);
    Some(Operation::CreateTable {
        table: named(node, &[K::TABLE_NAME])?,
        columns: arguments
            .iter()
            .flat_map(|a| children(a, K::COLUMN))
            .map(|c| new_column(&c))
            .collect(),
        constraints: arguments
            .iter()
            .flat_map(SyntaxNode::children)
            .filter_map(|c| new_constraint(&c))
            .collect(),
        partition_of: of.and_then(|n| named(&n, TABLES)),
        if_not_exists: has(node, K::IF_NOT_EXISTS),
    })
}

fn reindex(node: &SyntaxNode) -> Option<Operation> {
    let target = node
        .children()
        .find(|c| c.kind() != K::REINDEX_OPTION_LIST)?;
    let options = child(node, K::REINDEX_OPTION_LIST);
    Some(Operation::Reindex {
        index: target.kind() == K::REINDEX_TARGET_INDEX,
        concurrently: has_word(&target, "concurrently")
            || options.is_some_and(|o| has(&o, K::REINDEX_OPTION_CONCURRENTLY)),
        target: name(&target.children().last()?)?,
    })
}

fn write(node: &SyntaxNode) -> Option<Operation> {
    // A CTE's tables stand before the one that is written.
    let target = node
        .children()
        .filter(|c| c.kind() != K::WITH_CLAUSE)
        .find_map(|c| named(&c, TABLES))?;
    let (command, filtered) = match node.kind() {
        K::UPDATE => ("UPDATE", has(node, K::WHERE_CLAUSE)),
        K::DELETE => ("DELETE", has(node, K::WHERE_CLAUSE)),
        K::INSERT => ("INSERT", has(node, K::VALUES)),
        _ => ("MERGE", false),
    };
    Some(Operation::Write {
        table: target,
        command,
        filtered,
    })
}

/// DROP, ALTER … RENAME and ALTER … SET SCHEMA of everything but tables' parts, and the
/// statements of transactions; told apart by the names of their nodes.
fn other(node: &SyntaxNode) -> Vec<Operation> {
    let kind = format!("{:?}", node.kind());
    if let Some(what) = transaction(&kind) {
        return vec![Operation::Transaction(what)];
    }
    if let Some(what) = kind.strip_prefix("DROP_") {
        let (object, refs): (_, &[K]) = object(what);
        return all_named(node, refs)
            .into_iter()
            .map(|name| Operation::Drop {
                kind: object,
                name,
                cascade: has(node, K::CASCADE),
            })
            .collect();
    }
    let Some(what) = kind.strip_prefix("ALTER_") else {
        return Vec::new();
    };
    let (object, refs) = object(what);
    let Some(from) = named(node, refs) else {
        return Vec::new();
    };
    for action in node.children() {
        let action_kind = format!("{:?}", action.kind());
        if action_kind.ends_with("RENAME_TO") {
            let to = action.children().last().and_then(|n| name(&n));
            return vec![Operation::Rename {
                kind: object,
                from,
                to: to.map(|n| n.name).unwrap_or_default(),
            }];
        }
        match action.kind() {
            K::RENAME_COLUMN => {
                return vec![Operation::RenameColumn {
                    from: word(&action, K::COLUMN_NAME_REF).unwrap_or_default(),
                    to: word(&action, K::COLUMN_NAME).unwrap_or_default(),
                    table: from,
                }];
            }
            K::SET_SCHEMA => {
                return vec![Operation::SetSchema {
                    kind: object,
                    name: from,
                    schema: word(&action, K::SCHEMA_REF).unwrap_or_default(),
                }];
            }
            K::ADD_VALUE => return vec![Operation::AddEnumValue { ty: from }],
            _ => {}
        }
    }
    Vec::new()
}

fn transaction(kind: &str) -> Option<&'static str> {
    let word = |w: &str| kind == w || kind.starts_with(&format!("{w}_"));
    [
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
        "PREPARE_TRANSACTION",
        "ABORT",
        "END",
    ]
    .into_iter()
    .find(|w| word(w))
}

fn object(what: &str) -> (ObjectKind, &'static [K]) {
    match what {
        "TABLE" => (ObjectKind::Table, &[K::TABLE_NAME_REF]),
        "FOREIGN_TABLE" => (ObjectKind::ForeignTable, &[K::TABLE_NAME_REF]),
        "VIEW" => (ObjectKind::View, &[K::VIEW_REF]),
        "MATERIALIZED_VIEW" => (ObjectKind::MaterializedView, &[K::VIEW_REF]),
        "SEQUENCE" => (ObjectKind::Sequence, &[K::SEQUENCE_REF]),
        "INDEX" => (ObjectKind::Index, &[K::INDEX_REF]),
        "FUNCTION" | "PROCEDURE" | "ROUTINE" | "AGGREGATE" => (
            ObjectKind::Routine,
            &[
                K::FUNCTION_NAME_REF,
                K::PROCEDURE_NAME_REF,
                K::ROUTINE_NAME_REF,
            ],
        ),
        "TYPE" | "DOMAIN" => (ObjectKind::Type, &[K::TYPE_NAME_REF, K::DOMAIN_REF]),
        "SCHEMA" => (ObjectKind::Schema, &[K::SCHEMA_REF]),
        _ => (ObjectKind::Other, &[]),
    }
}

#[cfg(test)]
mod tests;
