//! The two facts of an X.509 certificate that the TLS library does not hand out:
//! its validity, and its digest for SCRAM channel binding.
//!
//! DER is a tree of (tag, length, content); [`Der`] walks it without copying and
//! answers `None` to whatever it does not expect.

use sha2::{Digest, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The explicit version field, `[0]`, absent in version 1 certificates.
const VERSION: u8 = 0xA0;

/// The bytes of the object identifiers, without tag and length.
const PKCS1: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01];
const ECDSA_SHA1: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x01];
const ECDSA_SHA2: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03];

struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7F);
            if count == 0 || count > 4 {
                return None;
            }
            let (digits, after) = rest.split_at_checked(count)?;
            rest = after;
            digits
                .iter()
                .fold(0usize, |sum, digit| (sum << 8) | usize::from(*digit))
        };
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, c)| c)
    }
}

/// The digest of a certificate for the channel binding `tls-server-end-point`
/// (RFC 5929 §4.1): the hash of its signature algorithm, SHA-256 in place of MD5
/// and SHA-1. `None` for algorithms without a hash of their own (Ed25519, PSS).
#[must_use]
pub fn end_point_digest(certificate: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Der(Der(certificate).expect(SEQUENCE)?);
    fields.expect(SEQUENCE)?;
    let algorithm = Der(fields.expect(SEQUENCE)?).expect(OBJECT_ID)?;
    let (last, family) = algorithm.split_last()?;
    let bits = match (family, last) {
        // md5, sha1, sha256, sha384, sha512 WithRSAEncryption
        (PKCS1, 4 | 5 | 11) => 256,
        (PKCS1, 12) => 384,
        (PKCS1, 13) => 512,
        (ECDSA_SHA2, 2) => 256,
        (ECDSA_SHA2, 3) => 384,
        (ECDSA_SHA2, 4) => 512,
        _ if algorithm == ECDSA_SHA1 => 256,
        _ => return None,
    };
    Some(match bits {
        256 => Sha256::digest(certificate).to_vec(),
        384 => Sha384::digest(certificate).to_vec(),
        _ => Sha512::digest(certificate).to_vec(),
    })
}

/// First and last second of a certificate's validity, in seconds since 1970.
#[must_use]
pub fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let mut fields = Der(Der(Der(certificate).expect(SEQUENCE)?).expect(SEQUENCE)?);
    let (tag, _) = fields.next()?;
    if tag == VERSION {
        fields.next()?; // serial number
    }
    fields.expect(SEQUENCE)?; // signature algorithm
    fields.expect(SEQUENCE)?; // issuer
    let mut period = Der(fields.expect(SEQUENCE)?);
    Some((time(period.next()?)?, time(period.next()?)?))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, as RFC 5280 §4.1.2.5 restricts them.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |part: &[u8]| part.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let short = number(&digits[..2]);
            (short + if short < 50 { 2000 } else { 1900 }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |at: usize| number(&rest[at..at + 2]);
    let days = days_since_1970(year, part(0), part(2));
    Some(((days * 24 + part(4)) * 60 + part(6)) * 60 + part(8))
}

/// Days of the Gregorian calendar, with the year taken to begin in March so that
/// the leap day is its last (the era arithmetic of Howard Hinnant's
/// "chrono-compatible low-level date algorithms").
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms_are_seconds_since_1970() {
        assert_eq!(time((UTC_TIME, b"700101000000Z")), Some(0));
        assert_eq!(time((UTC_TIME, b"491231235959Z")), Some(2_524_607_999));
        assert_eq!(
            time((GENERALIZED_TIME, b"20240229120000Z")),
            Some(1_709_208_000)
        );
        assert_eq!(time((UTC_TIME, b"7001010000Z")), None);
        assert_eq!(time((UTC_TIME, b"70010100000xZ")), None);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..100_000 {
            let bytes: Vec<u8> = (0..random.usize(..40))
                .map(|_| {
                    *random
                        .choice(&[0x30, 0x17, 0x06, 0x82, 0, 1, 5, 0x84, 0xFF])
                        .unwrap()
                })
                .collect();
            let _ = (end_point_digest(&bytes), validity(&bytes));
        }
    }
}
