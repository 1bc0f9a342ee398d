//! Records on disk: each has a checksum over its place and its bytes, so that a damaged one, or one that lies where
//! another belongs, is never taken for good.

/// Bytes of the checksum.
const SUM: usize = 4;

/// Puts the checksum before the bytes.
pub(super) fn seal(key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(SUM + payload.len());
    record.extend_from_slice(&sum(key, payload).to_be_bytes());
    record.extend_from_slice(payload);
    record
}

/// The bytes of a record. None: it is damaged.
pub(super) fn unseal<'a>(key: &[u8], record: &'a [u8]) -> Option<&'a [u8]> {
    let (said, payload) = record.split_first_chunk::<SUM>()?;
    (u32::from_be_bytes(*said) == sum(key, payload)).then_some(payload)
}

fn sum(key: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&[0xff]);
    hasher.update(payload);
    hasher.finalize()
}

/// The bytes of a vector, with the digest of the model that made it.
pub(super) fn write_vector(model: &str, values: &[f32]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1 + model.len() + 4 * values.len());
    bytes.push(u8::try_from(model.len()).ok()?);
    bytes.extend_from_slice(model.as_bytes());
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    Some(bytes)
}

/// The vector that bytes stand for, and the digest of its model.
pub(super) fn read_vector(bytes: &[u8]) -> Option<(&str, Vec<f32>)> {
    let (length, rest) = bytes.split_first()?;
    let (model, values) = rest.split_at_checked(usize::from(*length))?;
    let (values, odd) = values.as_chunks::<4>();
    let values = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
    odd.is_empty().then_some((std::str::from_utf8(model).ok()?, values))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_sealed_is_found_again_and_no_flipped_bit_passes(
            key in "[a-z]{1,9}",
            payload in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let mut record = seal(key.as_bytes(), &payload);
            prop_assert_eq!(unseal(key.as_bytes(), &record), Some(payload.as_slice()));
            prop_assert_eq!(unseal(b"elsewhere", &record), None);
            let at = at.index(record.len());
            record[at] ^= 1 << bit;
            prop_assert_eq!(unseal(key.as_bytes(), &record), None);
        }

        #[test]
        fn vectors_are_read_as_they_were_written(model in "[0-9a-f]{0,16}", values in prop::collection::vec(-1.0_f32..1.0, 0..50)) {
            let bytes = write_vector(&model, &values).unwrap();
            prop_assert_eq!(read_vector(&bytes), Some((model.as_str(), values)));
        }
    }

    #[test]
    fn half_a_vector_is_none() {
        let bytes = write_vector("m", &[1.0, 2.0]).unwrap();
        assert_eq!(read_vector(&bytes[..bytes.len() - 1]), None);
        assert_eq!(read_vector(&[9, b'm']), None);
        assert_eq!(read_vector(&[]), None);
    }
}
