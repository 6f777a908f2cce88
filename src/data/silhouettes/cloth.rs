//! What garments are made of, drawn at random.

use super::canvas::Fabric;
use super::random::Random;

/// A cloth: mostly plain, sometimes striped or shaded.
pub(super) fn cloth(r: &mut Random) -> Fabric {
    let shade = r.between(0.3, 0.95);
    let mut stripes = (0.0, 0.0, 0.0, 0.0);
    match r.below(10) {
        0 | 1 => stripes = (0.0, r.between(1.5, 5.0), r.unit(), r.between(0.06, 0.3)),
        2 => stripes = (r.between(1.5, 5.0), 0.0, r.unit(), r.between(0.06, 0.25)),
        3 => stripes = (r.between(1.0, 4.0), r.between(1.0, 4.0), r.unit(), r.between(0.06, 0.25)),
        _ => {}
    }
    Fabric { shade, gradient: (r.bell(0.2), r.bell(0.25)), relief: r.between(0.0, 0.3), stripes }
}

/// A shade that can be seen against `shade`.
pub(super) fn contrast(r: &mut Random, shade: f32, by: f32) -> f32 {
    let by = by * r.between(0.7, 1.3);
    if shade > 0.6 || (shade > 0.4 && r.chance(0.5)) { shade - by } else { shade + by }
}
