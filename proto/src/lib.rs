//! What travels between the planes: messages, services, the signed envelope, etcd keys.
//!
//! Owns: bytes, and the only conversion between them and the types of `routing`. Holds
//! no logic: what a message *means* is said in `routing`. Generated types stay in here
//! and in the signatures of RPC handlers.

pub mod convert;
pub mod envelope;
pub mod keys;
pub mod pb;
