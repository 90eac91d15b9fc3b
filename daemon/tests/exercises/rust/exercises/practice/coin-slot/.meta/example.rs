const COINS: [u32; 6] = [50, 20, 10, 5, 2, 1];

pub struct Slot {
    price: u32,
    paid: u32,
}

impl Slot {
    pub fn new(price: u32) -> Self {
        Self { price, paid: 0 }
    }

    pub fn insert(&mut self, coin: u32) -> Result<Option<Vec<u32>>, u32> {
        if !COINS.contains(&coin) {
            return Err(coin);
        }
        self.paid += coin;
        if self.paid < self.price {
            return Ok(None);
        }
        let mut left = self.paid - self.price;
        self.paid = 0;
        let mut change = Vec::new();
        for coin in COINS {
            while left >= coin {
                change.push(coin);
                left -= coin;
            }
        }
        Ok(Some(change))
    }
}
