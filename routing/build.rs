//! Lays the o200k vocabulary of tiktoken-rs out as a hash table, to be part of the binary:
//! a process that starts has nothing to load, and memory holds what is looked up.

#![expect(
    clippy::disallowed_methods,
    reason = "where to write is told in the environment"
)]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

#[expect(dead_code, reason = "tokens are hashed, their ends are known")]
#[path = "src/octets.rs"]
mod octets;
#[path = "src/tokens/o200k/slots.rs"]
mod slots;

/// Ranks are dense from 0 up to the first special token.
const TOKENS: u32 = 199_998;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/octets.rs");
    println!("cargo::rerun-if-changed=src/tokens/o200k/slots.rs");
    let vocabulary = tiktoken_rs::o200k_base()?;
    let mut table = vec![slots::FREE; slots::SLOTS];
    for rank in 0..TOKENS {
        let token = vocabulary.decode_bytes(&[rank])?;
        if token.len() > slots::TOKEN_BYTES_MAX {
            return Err(format!("token {rank} is longer than slots allow for").into());
        }
        let hash = octets::hash(&token, 0, token.len());
        let slot = hash >> slots::RANK_BITS << slots::RANK_BITS | u64::from(rank);
        let mut at = slots::first(hash);
        while table[at] != slots::FREE {
            if slots::rank(table[at], hash).is_some() {
                return Err(format!("token {rank} looks like another; change the keys").into());
            }
            at = (at + 1) % slots::SLOTS;
        }
        table[at] = slot;
    }
    let bytes: Vec<u8> = table.iter().flat_map(|slot| slot.to_le_bytes()).collect();
    fs::write(Path::new(&env::var("OUT_DIR")?).join("o200k.bin"), bytes)?;
    Ok(())
}
