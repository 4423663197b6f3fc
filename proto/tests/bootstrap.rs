//! The checked-in generated code is what the .proto files say.
//!
//! `SPILLWAY_REWRITE=1 cargo test -p spillway-proto --test bootstrap` (`make proto`)
//! writes it anew. protox compiles the files, so no protoc is needed.

use std::path::Path;

use protox::prost::Message;

const FILES: [&str; 4] = [
    "spillway/v1/facts.proto",
    "spillway/v1/table.proto",
    "spillway/v1/outcome.proto",
    "spillway/v1/control.proto",
];

#[test]
fn generated_code_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(FILES, [root]).unwrap();
    let out = tempfile::tempdir().unwrap();
    std::fs::write(
        out.path().join("spillway.v1.bin"),
        descriptors.encode_to_vec(),
    )
    .unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    for name in ["spillway.v1.rs", "spillway.v1.bin"] {
        let checked_in = root.join("src/gen").join(name);
        let fresh = std::fs::read(out.path().join(name)).unwrap();
        if std::env::vars().any(|(key, _)| key == "SPILLWAY_REWRITE") {
            std::fs::write(&checked_in, &fresh).unwrap();
        }
        let old = std::fs::read(&checked_in).unwrap();
        assert!(
            old == fresh,
            "{} is out of date: run `make proto`",
            checked_in.display()
        );
    }
}
