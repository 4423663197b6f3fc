//! What is written is read back, bit by bit.

use proptest::collection::vec;
use proptest::prelude::*;

use super::random;
use crate::{audit_columns, outcome_columns, parquet_file};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn outcomes_survive_parquet(outcomes in vec(random::outcome(), 0..6)) {
        let batch = outcome_columns::encode(&outcomes).unwrap();
        let file = parquet_file::write(&batch, None).unwrap();
        let read = parquet_file::read(file, None).unwrap();
        prop_assert_eq!(outcome_columns::decode(&read).unwrap(), outcomes);
    }

    #[test]
    fn verdicts_survive_parquet(verdicts in vec(random::verdict(), 0..20)) {
        let batch = audit_columns::encode_verdicts(&verdicts).unwrap();
        let file = parquet_file::write(&batch, None).unwrap();
        let read = parquet_file::read(file, None).unwrap();
        prop_assert_eq!(audit_columns::decode_verdicts(&read).unwrap(), verdicts);
    }

    #[test]
    fn audits_survive_parquet(audits in vec(random::audit(), 0..6)) {
        let batch = audit_columns::encode_audits("set", &audits).unwrap();
        let file = parquet_file::write(&batch, None).unwrap();
        let read = parquet_file::read(file, None).unwrap();
        prop_assert_eq!(audit_columns::decode_audits(&read).unwrap(), audits);
    }
}
