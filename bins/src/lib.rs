//! microserve turns uploaded videos into MP3s.
