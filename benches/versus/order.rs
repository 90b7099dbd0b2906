//! Who comes when.

/// The order of `count` servers in a round: forwards and backwards in turns, and in `count` rounds each begins once.
pub fn order(count: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    if count > 0 {
        order.rotate_left(round / 2 % count);
    }
    order
}
