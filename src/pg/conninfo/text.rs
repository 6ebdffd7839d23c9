//! The two spellings of a connection string, taken apart into keywords and
//! values: `postgres://…` and `host=… user=…`. Pure text, no defaults.

use crate::error::{Error, Kind, Result};

/// Splits a connection string into its keywords and values, in order.
///
/// Messages name keywords and positions only: any part of the text may be the
/// password.
///
/// # Errors
/// [`Kind::Config`] when the text follows neither spelling.
pub fn split(text: &str) -> Result<Vec<(String, String)>> {
    for scheme in ["postgres://", "postgresql://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return url(rest);
        }
    }
    if text.contains("://") {
        return Err(bad("it begins with a scheme other than postgres://"));
    }
    keywords(text)
}

fn bad(why: &str) -> Error {
    Error::new(
        Kind::Config,
        format!("the connection string cannot be read: {why}"),
    )
    .remedy("write postgres://user@host:5432/database?sslmode=verify-full, or host=… user=… dbname=…; percent-encode special characters of a URL")
}

/// `[user[:password]@][host][:port][/database][?keyword=value&…]`
fn url(rest: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut put = |key: &str, value: &str| -> Result<()> {
        if !value.is_empty() {
            found.push((key.to_owned(), percent(value)?));
        }
        Ok(())
    };
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    put("user", user)?;
    put("password", password)?;
    let (host, port) = host_and_port(server)?;
    put("host", host)?;
    put("port", port)?;
    put("dbname", database)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| bad("a parameter after `?` has no `=`"))?;
        match percent(key)?.as_str() {
            // Java's spelling, which libpq takes too.
            "ssl" if value == "true" => put("sslmode", "require")?,
            key => put(key, value)?,
        }
    }
    Ok(found)
}

fn host_and_port(server: &str) -> Result<(&str, &str)> {
    let Some(inner) = server.strip_prefix('[') else {
        return Ok(server.split_once(':').unwrap_or((server, "")));
    };
    let (host, after) = inner
        .split_once(']')
        .ok_or_else(|| bad("`[` of an IPv6 address is not closed"))?;
    match after.strip_prefix(':') {
        Some(port) => Ok((host, port)),
        None if after.is_empty() => Ok((host, "")),
        None => Err(bad("something other than `:port` follows `]`")),
    }
}

fn percent(text: &str) -> Result<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(0), Some(0)) => return Err(bad("it contains %00")),
            // Two hexadecimal digits fit into a byte.
            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
            _ => return Err(bad("`%` is not followed by two hexadecimal digits")),
        }
    }
    String::from_utf8(out).map_err(|_| bad("a percent-encoded part is not UTF-8"))
}

/// `keyword = value` pairs; values with spaces stand in single quotes, and a
/// backslash takes the next character as it is.
fn keywords(text: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest
            .split_once('=')
            .ok_or_else(|| bad("a keyword has no `=`"))?;
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(bad("a keyword has no `=`"));
        }
        let (value, after) = value(after.trim_start())?;
        found.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(found)
}

/// One value and what follows it.
fn value(text: &str) -> Result<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, escaped)) => value.push(escaped),
                None => return Err(bad("it ends with a backslash")),
            },
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &text[at..])),
            c => value.push(c),
        }
    }
    if quoted {
        return Err(bad("a quoted value is not closed"));
    }
    Ok((value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        split(text).unwrap()
    }

    fn owned(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        expected.iter().map(own).collect()
    }

    #[test]
    fn urls_are_taken_apart_and_decoded() {
        assert_eq!(
            pairs("postgres://ann%40x:p%3Aw%2F@db.example:6432/sh%20op?sslmode=require"),
            owned(&[
                ("user", "ann@x"),
                ("password", "p:w/"),
                ("host", "db.example"),
                ("port", "6432"),
                ("dbname", "sh op"),
                ("sslmode", "require"),
            ])
        );
        assert_eq!(
            pairs("postgresql://[::1]:5/d"),
            owned(&[("host", "::1"), ("port", "5"), ("dbname", "d")])
        );
        assert_eq!(
            pairs("postgres://%2Ftmp/d"),
            owned(&[("host", "/tmp"), ("dbname", "d")])
        );
        assert_eq!(
            pairs("postgres:///d?host=/tmp&port=5"),
            owned(&[("dbname", "d"), ("host", "/tmp"), ("port", "5")])
        );
        assert_eq!(pairs("postgres://"), []);
    }

    #[test]
    fn keyword_values_may_be_quoted_and_escaped() {
        assert_eq!(
            pairs(r"host = /tmp  password='it\'s a \\ b' user=x\ y dbname=''"),
            owned(&[
                ("host", "/tmp"),
                ("password", r"it's a \ b"),
                ("user", "x y"),
                ("dbname", ""),
            ])
        );
    }

    #[test]
    fn broken_text_is_refused_without_quoting_it() {
        for text in [
            "mysql://secret@h/d",
            "postgres://u:secret%zz@h",
            "postgres://[::1/d?password=secret",
            "postgres://h/d?secret",
            "user=x secret",
            "password='secret",
            "password=secret\\",
            "postgres://h/%00",
        ] {
            let error = split(text).unwrap_err();
            assert_eq!(error.kind, Kind::Config, "{text}");
            assert!(!error.message.contains("secret"), "{error}");
        }
    }
}
