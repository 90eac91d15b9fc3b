//! Owns: numbers, flags and texts inside a frame.
//! Guarantees: reading never goes past the frame and never panics.

use super::BadFrame;

/// A frame in the making.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn tag(tag: u8) -> Self {
        Self(vec![tag])
    }
    pub(super) fn num(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_le_bytes());
        self
    }
    pub(super) fn flag(self, b: bool) -> Self {
        self.num(u64::from(b))
    }
    pub(super) fn bytes(mut self, b: &[u8]) -> Self {
        self.0.extend_from_slice(&(b.len() as u64).to_le_bytes());
        self.0.extend_from_slice(b);
        self
    }
    pub(super) fn text(self, s: &str) -> Self {
        self.bytes(s.as_bytes())
    }
}

/// What is left of a frame.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], BadFrame> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(BadFrame)?;
        self.0 = tail;
        Ok(head)
    }
    pub(super) fn tag(&mut self) -> Result<u8, BadFrame> {
        self.take(1)?.first().copied().ok_or(BadFrame)
    }
    pub(super) fn num(&mut self) -> Result<u64, BadFrame> {
        Ok(u64::from_le_bytes(
            self.take(8)?.try_into().map_err(|_| BadFrame)?,
        ))
    }
    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, BadFrame> {
        T::try_from(self.num()?).map_err(|_| BadFrame)
    }
    pub(super) fn signed(&mut self) -> Result<i32, BadFrame> {
        i32::try_from(self.num()?.cast_signed()).map_err(|_| BadFrame)
    }
    pub(super) fn flag(&mut self) -> Result<bool, BadFrame> {
        Ok(self.num()? != 0)
    }
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], BadFrame> {
        let n = self.small()?;
        self.take(n)
    }
    pub(super) fn text(&mut self) -> Result<String, BadFrame> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| BadFrame)
    }
    pub(super) fn id(&mut self) -> Result<String, BadFrame> {
        let id = self.text()?;
        if crate::names::is_safe(&id) {
            Ok(id)
        } else {
            Err(BadFrame)
        }
    }
}

pub(super) fn signed(n: i32) -> u64 {
    i64::from(n).cast_unsigned()
}
