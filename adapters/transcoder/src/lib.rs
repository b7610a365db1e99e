//! The Rust transcoder of microserve: Symphonia and friends decode, LAME encodes.
