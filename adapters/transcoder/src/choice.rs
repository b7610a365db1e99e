//! Which of a file's tracks is converted.

use microserve_core::transcode::{TrackChoice, TranscodeError};

use crate::demux::Track;

/// The track that was asked for; else the one that the file prefers among those that can be decoded.
pub(crate) fn choose(
    tracks: &[Track],
    asked: Option<&TrackChoice>,
    can_decode: impl Fn(&Track) -> bool,
) -> Result<usize, TranscodeError> {
    let audio = || tracks.iter().enumerate().filter(|(_, track)| track.is_audio());
    let candidates: Vec<_> = match asked {
        None => audio().collect(),
        Some(TrackChoice::Number(number)) => audio().nth(usize::from(*number).wrapping_sub(1)).into_iter().collect(),
        Some(TrackChoice::Language(wanted)) => audio()
            .filter(|(_, track)| track.info.language.as_ref().is_some_and(|language| is_same(wanted, language)))
            .collect(),
    };
    if candidates.is_empty() && audio().next().is_some() {
        let there = audio().enumerate().map(|(n, (_, track))| match &track.info.language {
            Some(language) => format!("{} ({language})", n + 1),
            None => (n + 1).to_string(),
        });
        return Err(TranscodeError::NoSuchTrack { there: there.collect::<Vec<_>>().join(", ") });
    }
    let usable = || candidates.iter().filter(|(_, track)| !track.encrypted && can_decode(track));
    if let Some((n, _)) = usable().find(|(_, track)| track.preferred).or_else(|| usable().next()) {
        return Ok(*n);
    }
    match candidates.iter().find(|(_, track)| track.preferred).or_else(|| candidates.first()) {
        None => Err(TranscodeError::NoAudioTrack),
        Some((_, track)) if track.encrypted => Err(TranscodeError::Encrypted),
        Some((_, track)) => Err(TranscodeError::UnsupportedCodec { name: track.info.codec.clone() }),
    }
}

/// Whether two codes name the same language. Containers write ISO 639-2 (`eng`, or `ger` in the bibliographic form) or
/// BCP 47 (`en-GB`).
fn is_same(wanted: &str, there: &str) -> bool {
    let main = |code: &str| {
        let code = code.split('-').next().unwrap_or_default().to_ascii_lowercase();
        TWO_LETTERS.iter().find(|(_, three)| three.contains(&code.as_str())).map_or(code, |(two, _)| (*two).to_owned())
    };
    main(wanted) == main(there)
}

/// Languages with a code of two letters that is no abbreviation of the one of three, or of either one of three (ISO 639-1
/// and 639-2), as far as videos often are in them.
const TWO_LETTERS: [(&str, &[&str]); 40] = [
    ("ar", &["ara"]),
    ("bg", &["bul"]),
    ("bn", &["ben"]),
    ("ca", &["cat"]),
    ("cs", &["ces", "cze"]),
    ("da", &["dan"]),
    ("de", &["deu", "ger"]),
    ("el", &["ell", "gre"]),
    ("en", &["eng"]),
    ("es", &["spa"]),
    ("et", &["est"]),
    ("fa", &["fas", "per"]),
    ("fi", &["fin"]),
    ("fr", &["fra", "fre"]),
    ("he", &["heb"]),
    ("hi", &["hin"]),
    ("hr", &["hrv"]),
    ("hu", &["hun"]),
    ("id", &["ind"]),
    ("it", &["ita"]),
    ("ja", &["jpn"]),
    ("ko", &["kor"]),
    ("lt", &["lit"]),
    ("lv", &["lav"]),
    ("ms", &["msa", "may"]),
    ("nl", &["nld", "dut"]),
    ("no", &["nor"]),
    ("pl", &["pol"]),
    ("pt", &["por"]),
    ("ro", &["ron", "rum"]),
    ("ru", &["rus"]),
    ("sk", &["slk", "slo"]),
    ("sl", &["slv"]),
    ("sr", &["srp"]),
    ("sv", &["swe"]),
    ("th", &["tha"]),
    ("tr", &["tur"]),
    ("uk", &["ukr"]),
    ("vi", &["vie"]),
    ("zh", &["zho", "chi"]),
];

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn languages_are_the_same_in_every_code() {
        for (wanted, there) in
            [("de", "ger"), ("ger", "deu"), ("en", "eng"), ("eng", "en-GB"), ("gsw", "gsw"), ("EN", "en")]
        {
            assert!(is_same(wanted, there), "{wanted} and {there}");
        }
        assert!(!is_same("en", "ger") && !is_same("de", "den"));
    }
}
