//! Headers of AMR frames, as files and 3GP have them (RFC 4867, 5.3; 3GPP TS 26.101 and 26.201).

/// AMR has two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Band {
    /// AMR, to 4 kHz.
    Narrow,
    /// AMR-WB, to 8 kHz.
    Wide,
}

impl Band {
    /// The usual short name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Narrow => "amr_nb",
            Self::Wide => "amr_wb",
        }
    }

    /// In Hz. Frames last 20 ms.
    pub(crate) fn rate(self) -> u32 {
        match self {
            Self::Narrow => 8000,
            Self::Wide => 16_000,
        }
    }
}

/// What a frame's first byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// It arrived undamaged.
    pub(crate) is_good: bool,
    /// Bytes behind the first one.
    pub(crate) size: usize,
}

/// Kinds of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In one of eight or nine modes.
    Speech(u8),
    /// What silence sounds like.
    Silence,
    /// It never arrived.
    Lost,
    /// Nothing was sent.
    Nothing,
}

impl Head {
    /// `None` for kinds that are kept for the future, and where bits are set that have to be zero.
    pub(crate) fn parse(band: Band, head: u8) -> Option<Self> {
        let sizes: &[usize] = match band {
            Band::Narrow => &[12, 13, 15, 17, 19, 20, 26, 31],
            Band::Wide => &[17, 23, 32, 36, 40, 46, 50, 58, 60],
        };
        let kind = head >> 3 & 0xf;
        let (kind, size) = match sizes.get(usize::from(kind)) {
            Some(size) => (Kind::Speech(kind), *size),
            None if usize::from(kind) == sizes.len() => (Kind::Silence, 5),
            None if kind == 15 => (Kind::Nothing, 0),
            None if kind == 14 && band == Band::Wide => (Kind::Lost, 0),
            None => return None,
        };
        (head & 0x83 == 0).then_some(Self { kind, is_good: head & 4 != 0, size })
    }
}
