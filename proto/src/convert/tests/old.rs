//! Tables that earlier builds wrote. Owns: that this build still reads them.

use super::*;

#[test]
fn tables_of_the_first_version_are_still_read() {
    // `SPILLWAY_REWRITE=1` writes the file; do so only for a new format, under a new name.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/table-v1.bin");
    let mut first = bare_draft();
    // What came later.
    first.routes.iter_mut().for_each(|r| r.overflow = None);
    first
        .lanes
        .iter_mut()
        .for_each(|l| l.room = Room::default());
    first.keys.clear();
    let mut first = probed(first);
    first.probes.iter_mut().for_each(|p| p.facts.kept_by = None);
    if std::env::vars().any(|(key, _)| key == "SPILLWAY_REWRITE") {
        std::fs::write(path, encode_table(&first)).unwrap();
    }
    assert_eq!(decode_table(&std::fs::read(path).unwrap()), Ok(first));
}
