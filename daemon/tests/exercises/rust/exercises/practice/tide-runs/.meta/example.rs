use std::ops::Range;

pub fn longest_rise(heights: &[i32]) -> Range<usize> {
    let mut best = 0..0;
    let mut start = 0;
    for end in 1..=heights.len() {
        let goes_on = end < heights.len() && heights[end] > heights[end - 1];
        if goes_on {
            continue;
        }
        if end - start > best.len() {
            best = start..end;
        }
        start = end;
    }
    best
}
