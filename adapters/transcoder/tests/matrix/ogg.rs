//! Ogg, alone and beside a picture.

use crate::cell::refused;
use crate::codecs::{flac, opus, vorbis};

cells! {
    vorbis: [
        vorbis("a.ogg", 48_000, 1), vorbis("a.ogg", 44_100, 2), vorbis("a.ogg", 48_000, 3),
        vorbis("a.ogg", 48_000, 4), vorbis("a.ogg", 48_000, 5), vorbis("a.ogg", 48_000, 6),
        vorbis("a.ogg", 48_000, 7), vorbis("a.ogg", 48_000, 8), vorbis("a.ogv", 44_100, 2),
    ];
    opus: [
        opus("a.opus", 1), opus("a.opus", 2), opus("a.opus", 3), opus("a.opus", 4), opus("a.opus", 5),
        opus("a.opus", 6), opus("a.opus", 7), opus("a.opus", 8), opus("a.ogv", 2),
    ];
    flac: [flac("a.oga", 48_000, 1), flac("a.oga", 44_100, 2), flac("a.oga", 48_000, 6), flac("a.ogv", 48_000, 2)];
    speex: [refused("a.ogg", "speex", 16_000, 1).by("libspeex", &[])];
}
