//! What the old table computed of a row, and what it would not have taken, as
//! statements of the view's trigger: a trigger that runs instead of the write is
//! given neither.

use tokio_postgres::Client;

use crate::error::Result;
use crate::pg::ident::literal;
use crate::pg::quote;
use crate::transform::Plan;

use super::value;

/// The old table's expressions, as its catalog prints them at this moment.
pub struct Constraints {
    /// The table's name, which a reference to the whole row goes by.
    alias: String,
    /// Positions in the source's columns, with what each is generated from.
    generated: Vec<(usize, String)>,
    /// Name and expression.
    pub checks: Vec<(String, String)>,
}

/// Reads them. A constraint that is NOT ENFORCED refuses nothing.
///
/// # Errors
/// Connection errors.
pub async fn read(client: &Client, plan: &Plan) -> Result<Constraints> {
    let oid = &plan.source.oid;
    let alias: String = client
        .query_one("select relname::text from pg_class where oid = $1", &[oid])
        .await?
        .get(0);
    let checks = client
        .query(
            "select conname::text, crossfade.expression_of(conbin, conrelid) from pg_constraint c
             where conrelid = $1 and contype = 'c'
               and to_jsonb(c) ->> 'conenforced' is distinct from 'false' order by 1",
            &[oid],
        )
        .await?;
    let generated = client
        .query(
            "select a.attname::text, crossfade.expression_of(d.adbin, d.adrelid)
             from pg_attribute a join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
             where a.attrelid = $1 and a.attgenerated <> '' and not a.attisdropped order by a.attnum",
            &[oid],
        )
        .await?;
    Ok(Constraints {
        alias,
        generated: generated
            .iter()
            .filter_map(|r| Some((plan.source.column_index(r.get(0))?, r.get(1))))
            .collect(),
        checks: checks.iter().map(|r| (r.get(0), r.get(1))).collect(),
    })
}

impl Constraints {
    /// Computes what is generated, and refuses what the table would have refused. Uses
    /// the variable `broken`.
    #[must_use]
    pub fn sql(&self, plan: &Plan) -> String {
        let mut text = self.generate(plan);
        let table = format!(
            "schema = {}, table = {}",
            literal(&plan.module.source.schema),
            literal(&plan.module.source.name)
        );
        for c in plan.source.columns.iter().filter(|c| c.not_null) {
            text.push_str(&format!(
                "    if new.{} is null then
        raise exception 'null value in a column that is not null'
            using errcode = '23502', column = {}, {table};
    end if;\n",
                c.quoted(),
                literal(&c.name)
            ));
        }
        if self.checks.is_empty() {
            return text;
        }
        let broken: Vec<_> = self
            .checks
            .iter()
            .map(|(name, expression)| format!("when not ({expression}) then {}", literal(name)))
            .collect();
        text.push_str(&format!(
            "    select case {} end into broken from {};
    if broken is not null then
        raise exception 'new row violates a check constraint'
            using errcode = '23514', constraint = broken, {table};
    end if;\n",
            broken.join(" "),
            self.row(plan, true, |c| value(c, "new"))
        ));
        text
    }

    fn generate(&self, plan: &Plan) -> String {
        if self.generated.is_empty() {
            return String::new();
        }
        let column = |i: usize| &plan.source.columns[i];
        let (values, fields): (Vec<_>, Vec<_>) = self
            .generated
            .iter()
            .map(|(i, e)| (column(*i).cast(e), format!("new.{}", column(*i).quoted())))
            .unzip();
        format!(
            "    select {} into {} from {};\n",
            values.join(", "),
            fields.join(", "),
            self.row(plan, false, |c| value(c, "new"))
        )
    }

    /// A statement that the server can only make sense of if it can of the check, run
    /// outside the table.
    #[must_use]
    pub fn trial(&self, plan: &Plan, expression: &str) -> String {
        format!(
            "select not ({expression}) from {}",
            self.row(plan, true, |c| c.cast("null"))
        )
    }

    /// The new row as a relation of one row that goes by the table's name.
    fn row(
        &self,
        plan: &Plan,
        whole: bool,
        value: impl Fn(&crate::pg::catalog::Column) -> String,
    ) -> String {
        let mut columns: Vec<_> = plan
            .source
            .columns
            .iter()
            .filter(|c| whole || !c.generated)
            .map(|c| format!("{} as {}", value(c), c.quoted()))
            .collect();
        // The only system column that an expression of a table may use.
        let expressions = self.checks.iter().map(|(_, e)| e);
        let generated = self.generated.iter().map(|(_, e)| e);
        if expressions.chain(generated).any(|e| e.contains("tableoid")) {
            columns.push(format!("{}::pg_catalog.oid as tableoid", plan.source.oid));
        }
        format!("(select {}) {}", columns.join(", "), quote(&self.alias))
    }
}
