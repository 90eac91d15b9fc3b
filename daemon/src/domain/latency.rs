//! Owns: counts of durations by size, small enough to keep beside every roll-up.
//! Guarantees: adding two is exact; a percentile read from one is within 5 % of the true duration.

/// Bins per doubling: each is 2^(1/8), 9 % wide, and its middle is at most 4.5 % off.
const PER_OCTAVE: f64 = 8.0;

/// How many durations fell into each bin. Bin n holds those near 2^(n/8) milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// By number of the bin; the last one counts something.
    bins: Vec<u32>,
}

impl Latency {
    /// Counts one duration.
    pub fn count(&mut self, milliseconds: u64) {
        self.add_bin(bin_of(milliseconds), 1);
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        if self.bins.len() < other.bins.len() {
            self.bins.resize(other.bins.len(), 0);
        }
        for (sum, count) in self.bins.iter_mut().zip(&other.bins) {
            *sum = sum.saturating_add(*count);
        }
    }

    fn add_bin(&mut self, bin: u8, count: u32) {
        let at = usize::from(bin);
        if count > 0 && self.bins.len() <= at {
            self.bins.resize(at + 1, 0);
        }
        if let Some(sum) = self.bins.get_mut(at) {
            *sum = sum.saturating_add(count);
        }
    }

    /// True when nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// The duration below which `percent` of all are, in milliseconds; `None` when nothing was counted.
    pub fn percentile(&self, percent: u8) -> Option<u64> {
        let all: u64 = self.bins.iter().map(|n| u64::from(*n)).sum();
        let wanted = (all.saturating_mul(u64::from(percent.min(100))))
            .div_ceil(100)
            .max(1);
        let mut seen = 0u64;
        for (bin, count) in (0u8..=u8::MAX).zip(&self.bins) {
            seen = seen.saturating_add(u64::from(*count));
            if seen >= wanted {
                return Some(middle_of(bin));
            }
        }
        None
    }

    /// The form on disk: for each bin that counts something its number and its count, as five bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (bin, count) in (0u8..=u8::MAX).zip(&self.bins).filter(|(_, count)| **count > 0) {
            bytes.push(bin);
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        bytes
    }

    /// Adds what [`Self::to_bytes`] gave. A cut tail is ignored.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks_exact(5) {
            if let [bin, a, b, c, d] = piece {
                self.add_bin(*bin, u32::from_le_bytes([*a, *b, *c, *d]));
            }
        }
    }
}

fn bin_of(milliseconds: u64) -> u8 {
    // Bin 0 is for what took no time: a logarithm has no place for it.
    if milliseconds == 0 {
        return 0;
    }
    let at = (milliseconds as f64).log2() * PER_OCTAVE;
    (at.round() + 1.0).clamp(1.0, 255.0) as u8
}

fn middle_of(bin: u8) -> u64 {
    match bin {
        0 => 0,
        bin => ((f64::from(bin) - 1.0) / PER_OCTAVE).exp2().round() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_within_five_percent() {
        let mut latency = Latency::default();
        for ms in 1..=10_000u64 {
            latency.count(ms);
        }
        for (percent, truth) in [(50u8, 5000.0), (95, 9500.0), (100, 10_000.0)] {
            let read = latency.percentile(percent).unwrap() as f64;
            assert!(
                (read / truth - 1.0).abs() < 0.05,
                "{percent}: {read} is not near {truth}"
            );
        }
        assert_eq!(Latency::default().percentile(50), None);
    }

    #[test]
    fn halves_add_up_to_the_whole_and_survive_the_disk() {
        let (mut a, mut b, mut whole) = (Latency::default(), Latency::default(), Latency::default());
        for ms in [0u64, 1, 7, 900, 900, 60_000, u64::MAX] {
            whole.count(ms);
            if ms % 2 == 0 { &mut a } else { &mut b }.count(ms);
        }
        a.add(&b);
        assert_eq!(a, whole);
        let mut read = Latency::default();
        read.add_bytes(&whole.to_bytes());
        assert_eq!(read, whole);
        assert_eq!(read.percentile(1), Some(0));
    }
}
