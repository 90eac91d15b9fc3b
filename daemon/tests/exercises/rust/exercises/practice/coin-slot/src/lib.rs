pub struct Slot {
    // what does it need to know?
}

impl Slot {
    pub fn new(price: u32) -> Self {
        todo!("a slot for {price}")
    }

    pub fn insert(&mut self, coin: u32) -> Result<Option<Vec<u32>>, u32> {
        todo!("take {coin}")
    }
}
