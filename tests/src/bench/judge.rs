//! Whether what a contestant sends is what the work asks for: one that forwards fast but wrongly
//! is not measured.

use super::frames::{Wrap, site};

/// What a frame that leaves has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Around the inner frame.
    pub wrap: Wrap,
    /// Octets of the inner frame.
    pub size: u16,
    /// VNI, where there is one.
    pub vni: u8,
    /// Service index, where there is an NSH.
    pub si: u8,
    /// TTL, where there is an NSH that somebody has a rule for.
    pub ttl: Option<u8>,
}

impl Expected {
    /// Judges a frame.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, frame: &[u8]) -> Result<(), String> {
        let seen = |at: usize, octets: &[u8], what: &str| {
            if frame.get(at..at + octets.len()) == Some(octets) {
                return Ok(());
            }
            let found = frame.get(at..(at + octets.len()).min(frame.len()));
            Err(format!("{what} is {found:02x?}, not {octets:02x?}"))
        };
        let udp = |port: u16| {
            seen(12, &[0x08, 0x00], "type")?;
            seen(30, &[10, 2, 0, 2], "outer destination")?;
            seen(36, &port.to_be_bytes(), "UDP port")?;
            seen(46, &[0, 0, self.vni], "VNI")
        };
        let overhead = match self.wrap {
            Wrap::Plain => 0,
            Wrap::Vxlan => {
                udp(4789)?;
                50
            }
            Wrap::Gpe => {
                udp(4790)?;
                50 + self.nsh(frame.get(50..).unwrap_or_default())?
            }
            Wrap::Ethernet => {
                seen(12, &[0x89, 0x4f], "type")?;
                14 + self.nsh(frame.get(14..).unwrap_or_default())?
            }
        };
        if self.wrap != Wrap::Plain {
            seen(0, &site::NEXT_MAC, "outer destination MAC")?;
        }
        seen(overhead, &site::SERVER_MAC, "inner destination MAC")?;
        let inner = frame.len() - overhead;
        if inner != usize::from(self.size) {
            return Err(format!(
                "the inner frame has {inner} octets, not {}",
                self.size
            ));
        }
        Ok(())
    }

    /// Judges a header and returns its length.
    fn nsh(&self, header: &[u8]) -> Result<usize, String> {
        let [first, second, _, 3, high, middle, low, si, ..] = *header else {
            return Err("no NSH with Ethernet in it".to_owned());
        };
        let spi = u32::from_be_bytes([0, high, middle, low]);
        let ttl = (first & 0xf) << 2 | second >> 6;
        if spi < site::SPI || si != self.si {
            return Err(format!("path is {spi}/{si}, not {}/{}", site::SPI, self.si));
        }
        match self.ttl {
            Some(wanted) if wanted != ttl => Err(format!("TTL is {ttl}, not {wanted}")),
            _ => Ok(usize::from(second & 0x3f) * 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::frames::{Sizes, Traffic};

    fn arriving(wrap: Wrap) -> Vec<u8> {
        let traffic = Traffic {
            wrap,
            sizes: Sizes::One(64),
            flows: 1,
            paths: 1,
            checksum: false,
        };
        traffic.frame(64)
    }

    #[test]
    fn a_frame_that_was_not_touched_is_no_hop() {
        let expected = |ttl| Expected {
            wrap: Wrap::Ethernet,
            size: 64,
            vni: 0,
            si: site::SI,
            ttl: Some(ttl),
        };
        let mut frame = arriving(Wrap::Ethernet);
        frame[..6].copy_from_slice(&site::NEXT_MAC);
        assert_eq!(expected(63).judge(&frame), Ok(()));
        let error = expected(62).judge(&frame).unwrap_err();
        assert_eq!(error, "TTL is 63, not 62");
    }

    #[test]
    fn frames_of_other_kinds_and_lengths_are_refused() {
        let expected = Expected {
            wrap: Wrap::Plain,
            size: 1400,
            vni: 0,
            si: 0,
            ttl: None,
        };
        let error = expected.judge(&arriving(Wrap::Plain)).unwrap_err();
        assert_eq!(error, "the inner frame has 64 octets, not 1400");
        assert!(expected.judge(&arriving(Wrap::Gpe)).is_err());
        assert!(expected.judge(&[]).is_err());
    }
}
