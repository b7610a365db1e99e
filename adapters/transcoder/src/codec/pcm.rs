//! Uncompressed sound: how its samples are written down.

/// How a sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) number: Number,
    /// 1 to 8.
    pub(crate) bytes: u8,
    pub(crate) order: Order,
    /// Bits at the top of the bytes that are none of the number's: 8 in "24 bits in the lower part of 32".
    pub(crate) unused: u8,
}

/// What a sample's bits mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// Two's complement.
    Signed,
    /// Silence is in the middle.
    Unsigned,
    /// IEEE 754, full scale at 1.
    Float,
    /// Companded to eight bits (ITU-T G.711).
    ALaw,
    MuLaw,
}

/// The order of a number's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Big,
    Little,
}

impl Order {
    pub(crate) fn little_if(little: bool) -> Self {
        if little { Self::Little } else { Self::Big }
    }
}

impl Sample {
    pub(crate) const A_LAW: Self = Self { number: Number::ALaw, bytes: 1, order: Order::Little, unused: 0 };
    pub(crate) const MU_LAW: Self = Self { number: Number::MuLaw, bytes: 1, order: Order::Little, unused: 0 };

    /// An integer of so many bits at the top of as many bytes as they need.
    pub(crate) fn integer(bits: u32, signed: bool, order: Order) -> Option<Self> {
        let bytes = u8::try_from(bits.div_ceil(8)).ok().filter(|bytes| (1..=8).contains(bytes))?;
        let number = if signed { Number::Signed } else { Number::Unsigned };
        Some(Self { number, bytes, order, unused: 0 })
    }

    /// A float of 32 or 64 bits.
    pub(crate) fn float(bits: u32, order: Order) -> Option<Self> {
        let bytes = match bits {
            32 => 4,
            64 => 8,
            _ => return None,
        };
        Some(Self { number: Number::Float, bytes, order, unused: 0 })
    }

    /// What QuickTime and Core Audio tell of linear PCM: `bits` in `bytes` bytes, at their top or at their bottom (Apple,
    /// "Audio Format Flags"). `bytes` of zero are as many as the bits need.
    pub(crate) fn apple(float: bool, signed: bool, order: Order, bits: u32, bytes: u32, at_top: bool) -> Option<Self> {
        if float {
            return Self::float(bits, order);
        }
        let wide = if bytes == 0 { bits.div_ceil(8) } else { bytes };
        let sample = Self::integer(wide.checked_mul(8)?, signed, order)?;
        let unused = (wide * 8).checked_sub(bits).filter(|_| bits > 0)?;
        let unused = if at_top || unused < 8 { 0 } else { u8::try_from(unused).ok()? };
        Some(Self { unused, ..sample })
    }

    /// ffmpeg's name for it, which everybody knows.
    pub(crate) fn name(self) -> String {
        let kind = match self.number {
            Number::ALaw => return "pcm_alaw".to_owned(),
            Number::MuLaw => return "pcm_mulaw".to_owned(),
            Number::Signed => "s",
            Number::Unsigned => "u",
            Number::Float => "f",
        };
        let order = match self.order {
            _ if self.bytes == 1 => "",
            Order::Big => "be",
            Order::Little => "le",
        };
        format!("pcm_{kind}{}{order}", u32::from(self.bytes) * 8 - u32::from(self.unused))
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, Sample};

    #[test]
    fn names_are_those_that_everybody_knows() {
        let name = |sample: Option<Sample>| sample.unwrap().name();
        assert_eq!(name(Sample::integer(20, true, Order::Big)), "pcm_s24be");
        assert_eq!(name(Sample::integer(8, false, Order::Big)), "pcm_u8");
        assert_eq!(name(Sample::float(64, Order::Little)), "pcm_f64le");
        assert_eq!(Sample::A_LAW.name(), "pcm_alaw");
    }

    #[test]
    fn nonsense_is_no_sample() {
        for bits in [0, 65, 1000, u32::MAX] {
            assert_eq!(Sample::integer(bits, true, Order::Big), None);
        }
        assert_eq!(Sample::float(16, Order::Big), None);
        assert_eq!(Sample::apple(false, true, Order::Big, 24, u32::MAX, false), None);
        assert_eq!(Sample::apple(false, true, Order::Big, 24, 2, false), None);
    }

    #[test]
    fn bits_at_the_bottom_of_more_bytes_are_noticed() {
        assert_eq!(Sample::apple(false, true, Order::Little, 24, 4, false).map(|sample| sample.unused), Some(8));
        assert_eq!(Sample::apple(false, true, Order::Little, 24, 4, true).map(|sample| sample.unused), Some(0));
        assert_eq!(Sample::apple(false, true, Order::Little, 20, 3, false).map(|sample| sample.unused), Some(0));
    }
}
