//! Subscriptions and bills, in singular names, uuids and cents. Written and judged before
//! the rules had seen it; what they made of it then is in `docs/audit.md`.

use crate::place::Place;
use crate::truth::{Planted, compare, fallen_for};

const PLANTED: &[Planted] = &[
    ("no-primary-key", "app.login_attempt"),
    ("json-array", "app.invoice.adjustments"),
    ("json-array", "app.change_request.approvals"),
    ("json-array", "app.calendar_event.attendees"),
    (
        "repeating-group",
        "app.organization_profile.contact_email_1 app.organization_profile.contact_email_3",
    ),
    ("list-in-text", "app.organization.feature_flags"),
    ("list-in-text", "app.api_key.scopes"),
    ("entity-attribute-value", "app.customer_custom_field"),
    (
        "functional-dependency",
        "app.subscription.plan_id app.subscription.plan_name",
    ),
    (
        "functional-dependency",
        "app.invoice_line.product_code app.invoice_line.product_title",
    ),
    ("derivable-column", "app.invoice.total_cents"),
    ("derivable-column", "app.app_user.full_name"),
    ("reference-cycle", "app.organization app.payment_method"),
    ("orphan-table", "app.invoice_bak_20230401"),
    (
        "missing-foreign-key",
        "app.subscription.plan_id app.plan.id",
    ),
    (
        "missing-foreign-key",
        "app.membership.invited_by app.app_user.id",
    ),
    (
        "missing-foreign-key",
        "app.invoice.subscription_id app.subscription.id",
    ),
    (
        "missing-foreign-key",
        "app.usage_record.meter_code app.meter.code",
    ),
    (
        "missing-foreign-key",
        "app.credit_note.invoice_number app.invoice.number",
    ),
    // The oldest entries fit the accounts of logins as well.
    (
        "missing-foreign-key",
        "app.ledger_entry.account_id app.ledger_account.id",
    ),
    (
        "missing-foreign-key",
        "app.payment_attempt.payment_method app.payment_method.id",
    ),
    (
        "missing-foreign-key",
        "app.tax_line.jurisdiction app.tax_jurisdiction.code",
    ),
    (
        "missing-foreign-key",
        "app.dunning_step.email_template_id app.email_template.id",
    ),
    (
        "missing-foreign-key",
        "app.ticket.assigned_to app.app_user.id",
    ),
    (
        "missing-foreign-key",
        "app.ticket.merged_into_id app.ticket.id",
    ),
    ("missing-foreign-key", "app.api_key.owner app.app_user.id"),
    (
        "missing-foreign-key",
        "app.login_attempt.organization_id app.organization.id",
    ),
    (
        "missing-foreign-key",
        "app.price_tier.plan_code app.price_tier.currency app.price.plan_code",
    ),
    ("missing-foreign-key", "app.price.plan_code app.plan.code"),
    (
        "reference-type-mismatch",
        "app.dunning_step.email_template_id",
    ),
    (
        "reference-type-mismatch",
        "app.login_attempt.organization_id",
    ),
    ("not-valid-constraint", "app.tax_line.tax_line_invoice_fk"),
    (
        "duplicate-foreign-key",
        "app.payment_attempt.payment_attempt_invoice_again",
    ),
    ("polymorphic-reference", "app.attachment.attachable_id"),
    ("mixed-timestamps", "app.usage_record.created_at"),
    ("mixed-timestamps", "app.payment_attempt.created_at"),
    ("timestamp-without-zone", "app.coupon.expires_at"),
    ("money-type", "app.wallet.balance"),
    ("padded-char", "app.tax_jurisdiction.region"),
    ("float-for-money", "app.discount.amount_off"),
    ("integer-overflow", "app.usage_record.id"),
    ("naming-outlier", "app.\"webhookDelivery\""),
    ("naming-outlier", "app.\"webhookDelivery\".\"targetUrl\""),
    ("naming-outlier", "app.api_key.owner"),
    ("naming-outlier", "app.payment_attempt.payment_method"),
    ("foreign-key-without-index", "app.invoice_line.invoice_id"),
    ("foreign-key-without-index", "app.organization.parent_id"),
    (
        "duplicate-index",
        "app.invoice_organization app.invoice_org_again",
    ),
    (
        "redundant-index",
        "app.subscription_organization app.subscription_org_status",
    ),
    ("missing-index", "app.login_attempt.email"),
    ("missing-index", "app.usage_record.recorded_at"),
    ("missing-index", "app.ledger_entry.booked_at"),
    ("missing-index", "app.ticket.updated_at"),
    ("boolean-first-index", "app.app_user_admin"),
];

/// What only looks like a flaw.
const DECOYS: &[(&str, &str)] = &[
    ("missing-foreign-key", "app.organization.stripe_customer_id"),
    (
        "missing-foreign-key",
        "app.subscription.external_subscription_id",
    ),
    ("missing-foreign-key", "app.payment_attempt.request_id"),
    ("missing-foreign-key", "app.usage_record.idempotency_key"),
    ("missing-foreign-key", "app.attachment.attachable_id"),
    ("missing-foreign-key", "app.audit_log.row_id"),
    ("missing-foreign-key", "app.login_attempt.email"),
    ("missing-foreign-key", "app.dunning_step.step_no"),
    ("missing-foreign-key", "app.ticket.priority"),
    ("missing-foreign-key", "app.organization.seat_count"),
    ("entity-attribute-value", "app.plan_feature"),
    ("entity-attribute-value", "app.setting"),
    ("functional-dependency", "app.organization.postal_code"),
    ("functional-dependency", "app.organization.country_code"),
    ("functional-dependency", "app.subscription.unit_price_cents"),
    ("repeating-group", "app.organization.address_line1"),
    ("repeating-group", "app.deployment.day_1_errors"),
    ("json-array", "app.audit_log.changes"),
    ("json-array", "app.\"webhookDelivery\".payload"),
    ("json-array", "app.invoice.snapshot"),
    ("list-in-text", "app.ticket.description"),
    ("list-in-text", "app.ticket.status"),
    ("list-in-text", "app.invoice.memo"),
    ("float-for-money", "app.tax_jurisdiction.tax_rate"),
    ("float-for-money", "app.exchange_rate.rate"),
    ("padded-char", "app.payment_method.last4"),
    ("time-as-number", "app.organization.phone"),
    ("time-as-number", "app.deployment.build_number"),
    ("time-as-text", "app.invoice.period"),
    ("naming-outlier", "app.ticket.assigned_to"),
    ("foreign-key-without-index", "app.membership.role_code"),
    ("foreign-key-without-index", "app.exchange_rate.quote"),
    (
        "foreign-key-without-index",
        "app.organization.billing_currency",
    ),
    ("redundant-index", "app.subscription_open"),
    ("missing-index", "app.ticket.status"),
    ("missing-index", "app.invoice.due_date"),
];

#[test]
fn the_planted_flaws_of_billing_are_found_and_no_decoy_is_reported() {
    let place = Place::open("billing");
    place.load(include_str!("billing.sql"));
    for i in 1..=30 {
        for sql in [
            format!(
                "select id from usage_record where recorded_at >= date '2024-01-03' + {i} and recorded_at < date '2024-01-04' + {i}"
            ),
            format!("select id from ticket order by updated_at desc limit {i}"),
            format!(
                "select id from ticket where organization_id = md5('org{i}')::uuid order by updated_at desc limit 20"
            ),
            format!(
                "select id from invoice where organization_id = md5('org{i}')::uuid and due_date < '2024-02-01'"
            ),
            format!("select count(*) from ticket where status = 'open{i}'"),
            format!(
                "select id from ledger_entry where booked_at between '2022-02-01' and date '2022-02-01' + {i}"
            ),
            format!("select ip from login_attempt where email = 'u{i}@example.org'"),
        ] {
            place.sql(&sql);
        }
    }
    place.settle();
    let audit = place.audit();
    assert!(audit.unread.is_empty(), "{:?}", audit.unread);
    let mut wrong = compare("billing", &audit, PLANTED);
    wrong.extend(fallen_for(&audit, DECOYS));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
