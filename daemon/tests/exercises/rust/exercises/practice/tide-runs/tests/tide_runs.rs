use tide_runs::longest_rise;

#[test]
fn no_readings() {
    assert_eq!(longest_rise(&[]), 0..0);
}

#[test]
fn one_reading() {
    assert_eq!(longest_rise(&[7]), 0..1);
}

#[test]
fn a_rise_in_the_middle() {
    assert_eq!(longest_rise(&[5, 1, 2, 3, 0, 1]), 1..4);
}

#[test]
fn a_rise_at_the_end() {
    assert_eq!(longest_rise(&[3, 2, 4, 6, 8]), 1..5);
}

#[test]
fn equal_heights_end_a_run() {
    assert_eq!(longest_rise(&[1, 1, 2]), 1..3);
}

#[test]
fn the_first_of_equals() {
    assert_eq!(longest_rise(&[1, 2, 0, 5]), 0..2);
}
