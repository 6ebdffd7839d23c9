//! The shop of 45 tables: every planted flaw is found, and nothing else is reported.

use crossfade::audit::finding::Severity;

use crate::place::Place;
use crate::truth::{Planted, compare, fallen_for};

/// What an expert says of `shop.sql`.
const PLANTED: &[Planted] = &[
    // Eight denormalized tables: orders, shipments, staff, price_list_entries, invoices,
    // suppliers, products, campaigns; then those that only look wide or general.
    (
        "functional-dependency",
        "shop.orders.customer_id shop.orders.customer_name shop.orders.customer_email",
    ),
    (
        "functional-dependency",
        "shop.shipments.carrier_id shop.shipments.carrier_name shop.shipments.carrier_phone",
    ),
    (
        "functional-dependency",
        "shop.staff.department_code shop.staff.department_name shop.staff.department_floor",
    ),
    (
        "functional-dependency",
        "shop.price_list_entries.product_id shop.price_list_entries.product_name",
    ),
    ("derivable-column", "shop.invoices.gross"),
    ("derivable-column", "shop.customers.full_name"),
    (
        "repeating-group",
        "shop.suppliers.phone1 shop.suppliers.phone2 shop.suppliers.phone3",
    ),
    ("list-in-text", "shop.products.tags"),
    ("list-in-text", "shop.campaigns.channels"),
    ("entity-attribute-value", "shop.product_attributes"),
    ("wide-table", "shop.legacy_contacts"),
    // Three JSON columns that are child tables.
    ("json-array", "shop.orders.items"),
    ("json-array", "shop.carts.contents"),
    ("json-array", "shop.invoices.lines"),
    ("no-primary-key", "shop.coupon_redemptions"),
    ("reference-cycle", "shop.campaigns shop.price_lists"),
    ("orphan-table", "shop.products_backup_20210105"),
    // Fourteen missing foreign keys.
    (
        "missing-foreign-key",
        "shop.products.brand_id shop.brands.brand_id",
    ),
    (
        "missing-foreign-key",
        "shop.stock_levels.warehouse_id shop.warehouses.id",
    ),
    (
        "missing-foreign-key",
        "shop.stock_movements.product_id shop.products.id",
    ),
    (
        "missing-foreign-key",
        "shop.order_notes.order_id shop.orders.id",
    ),
    (
        "missing-foreign-key",
        "shop.order_notes.author_id shop.staff.id",
    ),
    (
        "missing-foreign-key",
        "shop.payments.method_id shop.payment_methods.id",
    ),
    (
        "missing-foreign-key",
        "shop.refunds.payment_id shop.payments.id",
    ),
    (
        "missing-foreign-key",
        "shop.shipments.carrier_id shop.carriers.id",
    ),
    (
        "missing-foreign-key",
        "shop.shipment_events.shipment_id shop.shipments.id",
    ),
    (
        "missing-foreign-key",
        "shop.carts.customer_id shop.customers.id",
    ),
    (
        "missing-foreign-key",
        "shop.wishlist_items.product_id shop.products.id",
    ),
    (
        "missing-foreign-key",
        "shop.coupon_redemptions.coupon_code shop.coupons.code",
    ),
    ("missing-foreign-key", "shop.staff.manager_id shop.staff.id"),
    (
        "missing-foreign-key",
        "shop.campaigns.created_by shop.staff.id",
    ),
    (
        "reference-type-mismatch",
        "shop.shipment_events.shipment_id",
    ),
    (
        "not-valid-constraint",
        "shop.coupon_redemptions.coupon_redemptions_order",
    ),
    (
        "duplicate-foreign-key",
        "shop.staff_roles.staff_roles_staff_again shop.staff_roles.staff_roles_staff_id_fkey",
    ),
    ("polymorphic-reference", "shop.comments.subject_id"),
    // Moments in five ways.
    ("mixed-timestamps", "shop.payments.created_at"),
    ("mixed-timestamps", "shop.stock_movements.created_at"),
    ("mixed-timestamps", "shop.\"AuditTrail\".\"createdAt\""),
    ("mixed-timestamps", "shop.invoices.issued_at"),
    ("time-as-text", "shop.suppliers.contract_start"),
    ("timestamp-without-zone", "shop.invoices.issued_at"),
    ("timestamp-without-zone", "shop.sessions.expires_at"),
    ("same-name-different-type", "shop.warehouses.phone"),
    ("money-type", "shop.gift_cards.balance"),
    ("padded-char", "shop.brands.slogan"),
    ("float-for-money", "shop.refunds.amount"),
    ("integer-overflow", "shop.\"AuditTrail\".id"),
    ("naming-outlier", "shop.\"AuditTrail\""),
    ("naming-outlier", "shop.\"AuditTrail\".\"tableName\""),
    ("naming-outlier", "shop.\"AuditTrail\".\"createdAt\""),
    ("naming-outlier", "shop.brands.brand_id"),
    ("naming-outlier", "shop.tax_rate"),
    ("naming-outlier", "shop.reviews.reviewed_date"),
    ("foreign-key-without-index", "shop.payments.order_id"),
    (
        "duplicate-index",
        "shop.reviews_product shop.reviews_product_id_idx",
    ),
    (
        "duplicate-index",
        "shop.addresses_city shop.addresses_city_down",
    ),
    (
        "redundant-index",
        "shop.orders_customer_id shop.orders_customer_id_created_at",
    ),
    ("redundant-index", "shop.w1 shop.w6"),
    ("redundant-index", "shop.w2 shop.w7"),
    ("redundant-index", "shop.w5 shop.w8"),
    ("invalid-index", "shop.customers_phone"),
    ("boolean-first-index", "shop.customers_active_created_at"),
    ("too-many-indexes", "shop.webhook_events"),
    ("missing-index", "shop.customers.last_name"),
    ("bloat", "shop.sessions"),
];

/// What only looks like a flaw: nothing may be said of these.
const DECOYS: &[(&str, &str)] = &[
    ("missing-foreign-key", "shop.comments.subject_id"),
    ("missing-foreign-key", "shop.suppliers.external_id"),
    ("missing-foreign-key", "shop.orders.external_order_id"),
    (
        "missing-foreign-key",
        "shop.payments.gateway_transaction_id",
    ),
    ("missing-foreign-key", "shop.shipments.tracking_id"),
    ("missing-foreign-key", "shop.sessions.device_id"),
    ("missing-foreign-key", "shop.webhook_events.source_id"),
    (
        "missing-foreign-key",
        "shop.legacy_contacts.legacy_customer_id",
    ),
    ("missing-foreign-key", "shop.reviews.rating"),
    ("missing-foreign-key", "shop.product_images.position"),
    ("missing-foreign-key", "shop.customers.loyalty_level"),
    ("missing-foreign-key", "shop.carts.items_count"),
    ("missing-foreign-key", "shop.orders.version"),
    ("missing-foreign-key", "shop.orders.customer_email"),
    ("repeating-group", "shop.product_links.entity0"),
    ("repeating-group", "shop.addresses.address_line1"),
    ("repeating-group", "shop.campaigns.budget_q1"),
    ("json-array", "shop.customers.settings"),
    ("json-array", "shop.products.dimensions"),
    ("json-array", "shop.products.color"),
    ("json-array", "shop.webhook_events.payload"),
    ("list-in-text", "shop.reviews.body"),
    ("list-in-text", "shop.addresses.coordinates"),
    ("list-in-text", "shop.addresses.address_line1"),
    ("list-in-text", "shop.sessions.user_agent"),
    ("entity-attribute-value", "shop.product_translations"),
    ("entity-attribute-value", "shop.settings"),
    ("functional-dependency", "shop.tax_rate.region"),
    ("functional-dependency", "shop.stock_movements.reason"),
    ("functional-dependency", "shop.orders.shipping_city"),
    ("padded-char", "shop.currencies.code"),
    ("float-for-money", "shop.tax_rate.rate"),
    ("float-for-money", "shop.products.weight"),
    ("time-as-number", "shop.warehouses.phone"),
    ("same-name-different-type", "shop.webhook_events.status"),
    ("orphan-table", "shop.settings"),
    ("orphan-table", "shop.legacy_contacts"),
    ("redundant-index", "shop.customers_email_key"),
    ("redundant-index", "shop.customers_new"),
    ("boolean-first-index", "shop.reviews_spam"),
    ("unused-index", "shop.customers_new"),
    ("reference-cycle", "shop.categories"),
    ("foreign-key-without-index", "shop.stock_levels.product_id"),
];

fn place() -> Place {
    let place = Place::open("shop");
    place.load(include_str!("shop.sql"));
    // Broken off by the rows that are there twice: it leaves the index, invalid.
    assert!(
        place.fails("create unique index concurrently customers_phone on shop.customers (phone)")
    );
    for i in 0..30 {
        place.sql(&format!(
            "select id from shop.customers where last_name = 'Last{i}'"
        ));
        place.sql(&format!(
            "select id from shop.customers where email = 'c{i}@example.com'"
        ));
    }
    place.settle();
    place
}

#[test]
fn every_planted_flaw_of_the_shop_is_found_and_no_decoy_reported() {
    let place = place();
    let audit = place.audit();
    assert_eq!(audit.database.designed().count(), 45);
    assert!(audit.unread.is_empty(), "{:?}", audit.unread);
    assert!(audit.statements);
    let mut wrong = compare("shop", &audit, PLANTED);
    wrong.extend(fallen_for(&audit, DECOYS));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    every_proof_can_be_run(&place, &audit);
    what_is_measured_is_true(&place, &audit);
}

/// The SQL that proves a finding is read-only and has no error in it.
fn every_proof_can_be_run(place: &Place, audit: &crossfade::audit::Audit) {
    for finding in &audit.findings {
        place.sql(&format!(
            "set search_path = public; begin read only; {}; rollback",
            finding.proof
        ));
    }
}

fn what_is_measured_is_true(place: &Place, audit: &crossfade::audit::Audit) {
    let measure = |rule: &str, object: &str, name: &str| {
        audit
            .findings
            .iter()
            .filter(|f| f.rule == rule && f.objects[0].to_string() == object)
            .flat_map(|f| f.evidence.iter().flat_map(|e| &e.measures))
            .find(|m| m.name == name)
            .unwrap_or_else(|| panic!("{rule} {object} has no {name}"))
            .value
    };
    let number = |sql: &str| place.get(sql).parse::<f64>().unwrap();
    assert_eq!(
        measure(
            "missing-foreign-key",
            "shop.order_notes.order_id",
            "orphans"
        ),
        number(
            "select count(*) from shop.order_notes n where not exists (select from shop.orders o where o.id = n.order_id)"
        )
    );
    assert_eq!(
        measure("json-array", "shop.orders.items", "elements"),
        number("select sum(jsonb_array_length(items)) from shop.orders")
    );
    assert_eq!(
        measure("functional-dependency", "shop.orders.customer_id", "values"),
        number("select count(distinct customer_id) from shop.orders")
    );
    let worst = &audit.findings[0];
    assert_eq!(
        (worst.rule, worst.severity),
        ("integer-overflow", Severity::Critical)
    );
}
