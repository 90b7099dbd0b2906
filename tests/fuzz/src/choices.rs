//! The first bytes of an input: what the run is made of beside the bytes of the peer.

/// Takes choices off the front of an input; what is not there counts as 0.
#[derive(Clone, Copy, Debug)]
pub struct Choices<'d>(&'d [u8]);

impl<'d> Choices<'d> {
    pub fn new(data: &'d [u8]) -> Choices<'d> {
        Choices(data)
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Up to `count` bytes.
    pub fn bytes(&mut self, count: usize) -> &'d [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything that is left.
    pub fn rest(self) -> &'d [u8] {
        self.0
    }
}

/// Where a stream is cut: the sizes of the pieces, less one, again and again.
#[derive(Clone, Copy, Debug)]
pub struct Cuts([u8; 4]);

impl Cuts {
    /// One byte at a time.
    pub const BYTES: Cuts = Cuts([0; 4]);

    pub fn new(choices: &mut Choices<'_>) -> Cuts {
        Cuts(std::array::from_fn(|_| choices.byte()))
    }

    /// The pieces of `bytes`, none of them empty.
    pub fn pieces<'b>(&self, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let mut pieces = Vec::new();
        for size in self.0.iter().cycle() {
            if bytes.is_empty() {
                break;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(usize::from(*size) + 1));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}
