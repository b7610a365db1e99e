//! Connections that an adapter keeps to its server: for whoever watches over it.

/// How many connections there are. When as many are open as there may be, and none is idle, callers wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Connections that there are, or are being made.
    pub open: u32,
    /// Those of them that nobody uses right now.
    pub idle: u32,
    /// So many there may be.
    pub most: u32,
}
