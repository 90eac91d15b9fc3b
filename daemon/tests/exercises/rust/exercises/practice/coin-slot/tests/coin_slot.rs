use coin_slot::Slot;

#[test]
fn exact_money() {
    let mut slot = Slot::new(7);
    assert_eq!(slot.insert(5), Ok(None));
    assert_eq!(slot.insert(2), Ok(Some(vec![])));
}

#[test]
fn change_in_few_coins() {
    let mut slot = Slot::new(12);
    assert_eq!(slot.insert(50), Ok(Some(vec![20, 10, 5, 2, 1])));
}

#[test]
fn empty_after_a_sale() {
    let mut slot = Slot::new(5);
    assert_eq!(slot.insert(10), Ok(Some(vec![5])));
    assert_eq!(slot.insert(2), Ok(None));
}

#[test]
fn a_button_is_no_coin() {
    let mut slot = Slot::new(5);
    assert_eq!(slot.insert(2), Ok(None));
    assert_eq!(slot.insert(3), Err(3));
    assert_eq!(slot.insert(2), Ok(None));
    assert_eq!(slot.insert(1), Ok(Some(vec![])));
}
