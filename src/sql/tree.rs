//! Looking things up in a parsed statement, by kind of node.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::statement::Name;
use super::token;

/// The first child of a kind.
pub(super) fn child(node: &SyntaxNode, kind: SyntaxKind) -> Option<SyntaxNode> {
    node.children().find(|c| c.kind() == kind)
}

/// Every child of a kind.
pub(super) fn children(
    node: &SyntaxNode,
    kind: SyntaxKind,
) -> impl Iterator<Item = SyntaxNode> + use<> {
    node.children().filter(move |c| c.kind() == kind)
}

/// Whether a child of this kind is there.
pub(super) fn has(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    child(node, kind).is_some()
}

/// Whether the keyword stands directly in this node, not deeper.
pub(super) fn has_word(node: &SyntaxNode, word: &str) -> bool {
    node.children_with_tokens()
        .filter_map(|e| e.into_token())
        .any(|t| t.text().eq_ignore_ascii_case(word))
}

/// The possibly qualified name that a node is.
pub(super) fn name(node: &SyntaxNode) -> Option<Name> {
    let text = node.text().to_string();
    let mut parts = Vec::new();
    for token in token::tokens(&text) {
        if let Some(part) = token.identifier(&text) {
            parts.push(part);
        }
    }
    Name::of(parts)
}

/// The name in the first descendant (or self) of one of these kinds.
pub(super) fn named(node: &SyntaxNode, kinds: &[SyntaxKind]) -> Option<Name> {
    node.descendants()
        .find(|n| kinds.contains(&n.kind()))
        .and_then(|n| name(&n))
}

/// The names in all descendants of these kinds.
pub(super) fn all_named(node: &SyntaxNode, kinds: &[SyntaxKind]) -> Vec<Name> {
    node.descendants()
        .filter(|n| kinds.contains(&n.kind()))
        .filter_map(|n| name(&n))
        .collect()
}

/// The unqualified name in the first child of a kind.
pub(super) fn word(node: &SyntaxNode, kind: SyntaxKind) -> Option<String> {
    child(node, kind).and_then(|n| name(&n)).map(|n| n.name)
}

/// A node's text with runs of white space made one blank, comments taken out.
pub(super) fn text(node: &SyntaxNode) -> String {
    let mut text = String::new();
    for token in node
        .descendants_with_tokens()
        .filter_map(|e| e.into_token())
    {
        match token.kind() {
            SyntaxKind::COMMENT => {}
            SyntaxKind::WHITESPACE => {
                if !text.ends_with(' ') {
                    text.push(' ');
                }
            }
            _ => text.push_str(token.text()),
        }
    }
    text.trim().to_owned()
}
