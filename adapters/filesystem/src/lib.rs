//! Blobs and mail of microserve in folders.
