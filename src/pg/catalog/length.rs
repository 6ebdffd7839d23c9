//! Columns whose type has a length, and values that are too long for it.
//!
//! An assignment refuses such a value (but for blanks at a string's end), while an
//! explicit cast cuts it off without a word. What compares rows has to cast, so it must
//! not take a value that the column cannot hold for the one that it does hold.
//!
//! Of PostgreSQL's own types these are `char(n)`, `varchar(n)`, `bit(n)` and
//! `bit varying(n)`: they alone have a length coercion that asks whether the cast is
//! explicit (`pg_cast` with source = target and three arguments). Precision and scale
//! (`numeric`, `timestamp`, `interval`) are applied alike either way.

/// A type with a length, of a column or of its array's elements; under a domain, that
/// of the domain's base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Length {
    kind: Kind,
    /// In characters or bits.
    length: i32,
    /// The element of an array, else as `whole`.
    element: Forms,
    whole: Forms,
    array: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Bit,
    Varbit,
}

/// A type as SQL text: with the length, and without, where a cast never cuts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Forms {
    limited: String,
    bare: String,
}

/// Columns of a row: oid of the element or base type, its modifier, both forms of the
/// whole type and of the element, whether it is an array.
pub(super) const SQL: &str = "
left join lateral (
    with recursive domains(oid, typmod) as (
        select a.atttypid, a.atttypmod
        union all
        select d.typbasetype, case when x.typmod >= 0 then x.typmod else d.typtypmod end
        from domains x join pg_type d on d.oid = x.oid and d.typtype = 'd')
    select e.oid as element, x.typmod,
           format_type(b.oid, x.typmod) as limited, format_type(b.oid, -1) as bare,
           format_type(e.oid, x.typmod) as limited_element, format_type(e.oid, -1) as bare_element,
           b.oid <> e.oid as is_array
    from domains x
    join pg_type b on b.oid = x.oid and b.typtype <> 'd'
    join pg_type e on e.oid = case when b.typcategory = 'A' and b.typelem <> 0 then b.typelem else b.oid end
    where x.typmod >= 0 and e.oid in (1042, 1043, 1560, 1562)
) l on true";

impl Length {
    /// From the columns of [`SQL`], `at` being the first's place.
    pub(super) fn read(row: &tokio_postgres::Row, at: usize) -> Option<Self> {
        let element: u32 = row.get::<_, Option<u32>>(at)?;
        let typmod: i32 = row.get(at + 1);
        // The modifier of strings counts the four bytes of a header.
        let (kind, length) = match element {
            1560 => (Kind::Bit, typmod),
            1562 => (Kind::Varbit, typmod),
            _ => (Kind::Text, typmod - 4),
        };
        let forms = |at: usize| Forms {
            limited: row.get(at),
            bare: row.get(at + 1),
        };
        Some(Self {
            kind,
            length,
            whole: forms(at + 2),
            element: forms(at + 4),
            array: row.get(at + 6),
        })
    }

    /// `expression` as the column would hold it; a value that is too long stays whole,
    /// so that it prints like none that the column can hold.
    pub(super) fn hold(&self, expression: &str) -> String {
        let Forms { limited, bare } = &self.whole;
        let fits = if self.array {
            format!(
                "not exists (select from unnest(({expression})::{bare}) e(v) where not ({}))",
                self.fits("e.v")
            )
        } else {
            self.fits(expression)
        };
        format!("(case when {fits} then ({expression})::{limited} else ({expression})::{bare} end)")
    }

    /// Whether one value would be assigned; NULL where it is NULL.
    fn fits(&self, value: &str) -> String {
        let Forms { limited, bare } = &self.element;
        let n = self.length;
        match self.kind {
            Kind::Bit => format!("length(({value})::{bare}) = {n}"),
            Kind::Varbit => format!("length(({value})::{bare}) <= {n}"),
            Kind::Text => format!(
                "char_length(({value})::text) <= {n} or rtrim(({value})::text, ' ') = rtrim(({value})::{limited}::text, ' ')"
            ),
        }
    }
}
