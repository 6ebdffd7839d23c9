//! A freight forwarder of twenty years: keys called after their tables, codes of the trade,
//! few references declared. Written and judged before the rules had seen it; what they made
//! of it then is in `docs/audit.md`.

use crate::place::Place;
use crate::truth::{Planted, compare, fallen_for};

const PLANTED: &[Planted] = &[
    ("no-primary-key", "public.yard_move"),
    ("json-array", "public.shipment_old.packages"),
    ("json-array", "public.route_request.stops"),
    (
        "repeating-group",
        "public.trip.stop1_city public.trip.stop3_minutes",
    ),
    ("list-in-text", "public.vehicle.equipment"),
    ("list-in-text", "public.driver.licence_classes"),
    ("entity-attribute-value", "public.vehicle_property"),
    (
        "functional-dependency",
        "public.leg.from_port public.leg.from_port_name",
    ),
    (
        "functional-dependency",
        "public.driver.depot_id public.driver.depot_city",
    ),
    (
        "functional-dependency",
        "public.container.iso_type public.container.iso_type_description",
    ),
    // Neither port alone decides.
    (
        "functional-dependency",
        "public.shipment.origin_port public.shipment.dest_port public.shipment.tariff_zone",
    ),
    ("derivable-column", "public.package.volume_ccm"),
    ("derivable-column", "public.freight_charge.total"),
    ("wide-table", "public.customs_form"),
    ("reference-cycle", "public.depot public.vehicle"),
    ("orphan-table", "public.party_tmp"),
    (
        "missing-foreign-key",
        "public.shipment.shipper_id public.party.party_id",
    ),
    (
        "missing-foreign-key",
        "public.shipment.consignee_id public.party.party_id",
    ),
    (
        "missing-foreign-key",
        "public.shipment.origin_port public.port.unlocode",
    ),
    (
        "missing-foreign-key",
        "public.shipment.dest_port public.port.unlocode",
    ),
    (
        "missing-foreign-key",
        "public.shipment.carrier_code public.shipment.service_code public.carrier_service.service_code",
    ),
    (
        "missing-foreign-key",
        "public.leg.from_port public.port.unlocode",
    ),
    (
        "missing-foreign-key",
        "public.leg.to_port public.port.unlocode",
    ),
    (
        "missing-foreign-key",
        "public.trip.vehicle_vin public.vehicle.vin",
    ),
    (
        "missing-foreign-key",
        "public.trip.driver_id public.driver.driver_id",
    ),
    (
        "missing-foreign-key",
        "public.trip.co_driver_id public.driver.driver_id",
    ),
    (
        "missing-foreign-key",
        "public.driver.supervisor_id public.driver.driver_id",
    ),
    (
        "missing-foreign-key",
        "public.container_event.container_no public.container.container_no",
    ),
    (
        "missing-foreign-key",
        "public.container_event.port public.port.unlocode",
    ),
    (
        "missing-foreign-key",
        "public.pod.shipment_no public.shipment.shipment_no",
    ),
    (
        "missing-foreign-key",
        "public.customs_line.hs_code public.hs_code.hs_code",
    ),
    (
        "missing-foreign-key",
        "public.fuel_card.vehicle public.vehicle.vin",
    ),
    (
        "missing-foreign-key",
        "public.yard_move.vehicle public.vehicle.vin",
    ),
    (
        "missing-foreign-key",
        "public.maintenance.depot public.depot.depot_id",
    ),
    (
        "missing-foreign-key",
        "public.freight_invoice.bill_to public.party.party_id",
    ),
    (
        "missing-foreign-key",
        "public.stock_item.warehouse_code public.stock_item.bin_code public.storage_bin.bin_code",
    ),
    ("not-valid-constraint", "public.shipment.shipment_depot"),
    ("polymorphic-reference", "public.document.parent_id"),
    ("mixed-timestamps", "public.trip.updated_at"),
    ("mixed-timestamps", "public.container_event.updated_at"),
    ("time-as-number", "public.gate_log.passed_at"),
    ("time-as-number", "public.shipment.pickup_date"),
    ("time-as-text", "public.freight_invoice.booked_on"),
    ("timestamp-without-zone", "public.yard_move.moved_at"),
    ("padded-char", "public.party.city"),
    ("float-for-money", "public.freight_charge.fuel_surcharge"),
    ("integer-overflow", "public.gate_log.gate_log_id"),
    ("naming-outlier", "public.\"DriverShift\""),
    (
        "naming-outlier",
        "public.\"DriverShift\".\"DriverShift_id\"",
    ),
    ("naming-outlier", "public.\"DriverShift\".\"startsAt\""),
    ("naming-outlier", "public.\"DriverShift\".\"endsAt\""),
    ("naming-outlier", "public.warehouse.id"),
    ("naming-outlier", "public.maintenance.depot"),
    ("naming-outlier", "public.vehicle.home_depot"),
    ("foreign-key-without-index", "public.leg.shipment_id"),
    (
        "foreign-key-without-index",
        "public.container.parent_container_no",
    ),
    ("redundant-index", "public.scan_at public.scan_depot_at"),
    (
        "redundant-index",
        "public.shipment_status_only public.shipment_status",
    ),
    (
        "redundant-index",
        "public.freight_charge_shipment public.freight_charge_shipment_total",
    ),
    (
        "redundant-index",
        "public.maintenance_vin_hash public.maintenance_vin",
    ),
    ("missing-index", "public.shipment.shipper_id"),
    ("missing-index", "public.shipment.consignee_id"),
    ("missing-index", "public.stock_item.article_no"),
    ("missing-index", "public.trip.started_at"),
    ("too-many-indexes", "public.scan"),
];

/// What only looks like a flaw.
const DECOYS: &[(&str, &str)] = &[
    ("missing-foreign-key", "public.scan.device_id"),
    ("missing-foreign-key", "public.scan.scan_type"),
    ("missing-foreign-key", "public.container_event.event_code"),
    ("missing-foreign-key", "public.gate_log.plate_no"),
    ("missing-foreign-key", "public.gate_log.lane"),
    ("missing-foreign-key", "public.document.parent_id"),
    ("missing-foreign-key", "public.shipment.customer_ref"),
    ("missing-foreign-key", "public.shipment_old.shipment_no"),
    ("missing-foreign-key", "public.trip.pallets_in"),
    ("missing-foreign-key", "public.freight_invoice.due_day"),
    ("missing-foreign-key", "public.depot.city"),
    ("functional-dependency", "public.party.postcode"),
    ("repeating-group", "public.vehicle.axle1_load"),
    ("repeating-group", "public.team.driver1_id"),
    ("repeating-group", "public.customs_form.box01"),
    ("json-array", "public.route_request.geometry"),
    ("json-array", "public.container_event.raw"),
    ("json-array", "public.vehicle.specs"),
    ("list-in-text", "public.trip.coordinates"),
    ("list-in-text", "public.shipment.remark"),
    ("list-in-text", "public.shipment.status"),
    ("list-in-text", "public.maintenance.note"),
    ("entity-attribute-value", "public.config"),
    ("float-for-money", "public.freight_invoice.vat_rate"),
    ("float-for-money", "public.freight_charge.load_factor"),
    ("float-for-money", "public.vehicle.fuel_rate"),
    ("float-for-money", "public.hs_code.duty_rate"),
    ("padded-char", "public.port.unlocode"),
    ("padded-char", "public.carrier.scac"),
    ("time-as-number", "public.freight_invoice.due_day"),
    ("orphan-table", "public.shipment_old"),
    ("orphan-table", "public.rate_card"),
    ("redundant-index", "public.scan_cold"),
    ("missing-index", "public.scan.scanned_at"),
    ("naming-outlier", "public.freight_invoice.bill_to"),
];

#[test]
fn the_planted_flaws_of_freight_are_found_and_no_decoy_is_reported() {
    let place = Place::open("freight");
    place.load(include_str!("freight.sql"));
    for i in 1..=30 {
        for sql in [
            format!("select shipment_id from shipment where shipper_id = {i}"),
            format!(
                "select shipment_id from shipment where consignee_id = {i} and updated_at > '2023-02-01' order by updated_at"
            ),
            format!(
                "select trip_id from trip where started_at >= '2024-01-05' order by started_at limit {i}"
            ),
            format!("select stock_item_id from stock_item where article_no = 'ART{i}'"),
            format!(
                "select scan_id from scan where scanned_at > '2024-01-02' and scanned_at < date '2024-01-02' + {i}"
            ),
        ] {
            place.sql(&sql);
        }
    }
    place.settle();
    let audit = place.audit();
    assert!(audit.unread.is_empty(), "{:?}", audit.unread);
    let mut wrong = compare("freight", &audit, PLANTED);
    wrong.extend(fallen_for(&audit, DECOYS));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
