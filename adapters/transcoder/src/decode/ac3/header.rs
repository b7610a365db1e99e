//! What a syncframe says before its audio blocks: `syncinfo` and `bsi` (A/52:2018, 5.3 and E.1.2.1, E.1.2.2), and in
//! E-AC-3 `audfrm` (`frame.rs`).

use super::bits::Bits;
use super::frame::Frame;
use crate::decode::Damaged;
use crate::sniff::ac3;

/// The most blocks of a frame.
pub(super) const BLOCKS: usize = 6;

/// What `bsi` says that the decoder needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) enhanced: bool,
    /// The column of the hearing threshold.
    pub(super) rate_code: usize,
    /// By how much the rate is halved.
    pub(super) rate_shift: u32,
    pub(super) blocks: usize,
    /// `acmod`
    pub(super) mode: u8,
    pub(super) lfe: bool,
    /// `chanmap` of a dependent substream.
    pub(super) map: Option<u16>,
    /// The frame has fields for whoever makes AC-3 of it (`strmtyp` is 0).
    pub(super) convertible: bool,
    /// Bytes of the frame.
    pub(super) size: usize,
}

/// Two channels that have nothing to do with each other.
pub(super) const DUAL_MONO: u8 = 0;
pub(super) const STEREO: u8 = 2;

impl Header {
    /// Full-bandwidth channels.
    pub(super) fn channels(&self) -> usize {
        usize::from(ac3::CHANNELS[usize::from(self.mode & 7)])
    }

    /// How many programs it has: fields of a program come once for each.
    fn programs(&self) -> usize {
        if self.mode == DUAL_MONO { 2 } else { 1 }
    }
}

/// Reads all that stands before the first block.
pub(super) fn read(bits: &mut Bits<'_>, head: &ac3::Frame) -> Result<Frame, Damaged> {
    if head.enhanced {
        let header = enhanced(bits, head.size)?;
        return Frame::read(bits, header);
    }
    Ok(Frame::plain(plain(bits, head.size)?))
}

/// `syncinfo` and `bsi` of AC-3 (5.3.1, 5.3.2). Annex D gives the time codes another meaning and the same size.
fn plain(bits: &mut Bits<'_>, size: usize) -> Result<Header, Damaged> {
    bits.skip(32)?;
    let rate_code = bits.index(2)?;
    bits.skip(6)?;
    let rate_shift = bits.take(5)?.saturating_sub(8);
    bits.skip(3)?;
    let mode = bits.take(3)? as u8;
    if mode & 1 == 1 && mode != 1 {
        bits.skip(2)?; // cmixlev
    }
    if mode & 4 != 0 {
        bits.skip(2)?; // surmixlev
    }
    if mode == STEREO {
        bits.skip(2)?; // dsurmod
    }
    let lfe = bits.flag()?;
    let blocks = BLOCKS;
    let header =
        Header { enhanced: false, rate_code, rate_shift, blocks, mode, lfe, map: None, convertible: false, size };
    for _ in 0..header.programs() {
        bits.skip(5)?; // dialnorm
        bits.optional(8)?; // compr
        bits.optional(8)?; // langcod
        bits.optional(7)?; // mixlevel, roomtyp
    }
    bits.skip(2)?; // copyrightb, origbs
    bits.optional(14)?; // timecod1
    bits.optional(14)?; // timecod2
    additional(bits)?;
    Ok(header)
}

/// `addbsi`
fn additional(bits: &mut Bits<'_>) -> Result<(), Damaged> {
    if let Some(length) = bits.optional(6)? {
        bits.skip(8 * (length as usize + 1))?;
    }
    Ok(())
}

/// `syncinfo` and `bsi` of E-AC-3 (E.1.2.1, E.1.2.2).
fn enhanced(bits: &mut Bits<'_>, size: usize) -> Result<Header, Damaged> {
    bits.skip(16)?;
    let kind = bits.take(2)?;
    bits.skip(3 + 11)?;
    let (code, second) = (bits.index(2)?, bits.index(2)?);
    let (rate_code, rate_shift, blocks) =
        if code == 3 { (second, 1, BLOCKS) } else { (code, 0, [1, 2, 3, BLOCKS][second]) };
    let mode = bits.take(3)? as u8;
    let lfe = bits.flag()?;
    bits.skip(5)?;
    let convertible = kind == 0;
    let mut header = Header { enhanced: true, rate_code, rate_shift, blocks, mode, lfe, map: None, convertible, size };
    for _ in 0..header.programs() {
        bits.skip(5)?; // dialnorm
        bits.optional(8)?; // compr
    }
    if kind == 1 {
        header.map = bits.optional(16)?.map(|map| map as u16);
    }
    if bits.flag()? {
        mixing(bits, &header)?;
    }
    if bits.flag()? {
        information(bits, &header, code)?;
    }
    if header.convertible && blocks != BLOCKS {
        bits.skip(1)?; // convsync
    }
    if kind == 2 && (blocks == BLOCKS || bits.flag()?) {
        bits.skip(6)?; // frmsizecod
    }
    additional(bits)?;
    Ok(header)
}

/// How the programs are to be mixed: none of it matters to whoever plays one.
fn mixing(bits: &mut Bits<'_>, header: &Header) -> Result<(), Damaged> {
    let mode = header.mode;
    if mode > STEREO {
        bits.skip(2)?; // dmixmod
        if mode & 1 == 1 {
            bits.skip(3 + 3)?; // ltrtcmixlev, lorocmixlev
        }
        if mode & 4 != 0 {
            bits.skip(3 + 3)?; // ltrtsurmixlev, lorosurmixlev
        }
    }
    if header.lfe {
        bits.optional(5)?; // lfemixlevcod
    }
    if !header.convertible {
        return Ok(());
    }
    for _ in 0..header.programs() {
        bits.optional(6)?; // pgmscl
    }
    bits.optional(6)?; // extpgmscl
    match bits.take(2)? {
        0 => {}
        1 => bits.skip(5)?,
        2 => bits.skip(12)?,
        _ => {
            let length = bits.index(5)?;
            bits.skip(8 * (length + 2))?;
        }
    }
    if mode < STEREO {
        for _ in 0..header.programs() {
            bits.optional(8 + 6)?; // panmean, paninfo
        }
    }
    if bits.flag()? {
        for _ in 0..header.blocks {
            if header.blocks == 1 || bits.flag()? {
                bits.skip(5)?; // blkmixcfginfo
            }
        }
    }
    Ok(())
}

fn information(bits: &mut Bits<'_>, header: &Header, rate_code: usize) -> Result<(), Damaged> {
    bits.skip(3 + 2)?; // bsmod, copyrightb, origbs
    if header.mode == STEREO {
        bits.skip(2 + 2)?; // dsurmod, dheadphonmod
    }
    if header.mode >= 6 {
        bits.skip(2)?; // dsurexmod
    }
    for _ in 0..header.programs() {
        bits.optional(5 + 2 + 1)?; // mixlevel, roomtyp, adconvtyp
    }
    if rate_code < 3 {
        bits.skip(1)?; // sourcefscod
    }
    Ok(())
}
