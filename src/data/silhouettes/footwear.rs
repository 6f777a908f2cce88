//! Shoes, seen from the side, the toe on the left. All numbers are garment units.

use super::canvas::{Canvas, Fabric, Piece, Side};
use super::cloth::{cloth, contrast};
use super::random::Random;

use Piece::{Convex, Ellipse, Limb, Line};
use Side::One;

pub(super) fn sandal(c: &mut Canvas, r: &mut Random) {
    let fabric = cloth(r);
    // All of it is near its outline: in full, the relief would leave little to see.
    let fabric = Fabric { relief: 0.3 * fabric.relief, ..fabric };
    let sole = 0.42 + r.bell(0.2);
    let heel = if r.chance(0.45) { r.between(0.15, 0.6) } else { 0.0 };
    let thick = r.between(0.08, 0.2);
    let back = (0.85, sole - heel);
    let ball = (-0.25, sole + 0.08);
    c.add(One, Line((-0.85, sole + 0.08 + r.bell(0.05)), ball, thick));
    c.add(One, Line(ball, back, thick));
    if heel > 0.0 {
        let wedge = r.chance(0.4);
        let foot = sole + 0.14;
        if wedge {
            c.add(One, Convex(&[ball, back, (0.88, foot)]));
        } else {
            c.add(One, Limb((0.78, back.1), (0.82, foot), 0.16, r.between(0.07, 0.16)));
        }
    }
    // The straps over the foot, seen from the side: bands that narrow upwards, or crossing cords.
    let floor = |x: f32| if x > ball.0 { ball.1 - (x - ball.0) / 1.1 * (heel + 0.08) } else { ball.1 };
    let bands = 1 + r.below(3);
    for band in 0..bands {
        let x = -0.62 + (band as f32 + r.between(0.1, 0.9)) / bands as f32;
        let (reach, lean) = (r.between(0.1, 0.22), r.bell(0.2));
        let top = (x + lean, floor(x) - r.between(0.22, 0.42) - 0.15 * (x + 0.6));
        let (left, right) = ((x - reach, floor(x - reach)), (x + reach, floor(x + reach)));
        if r.chance(0.6) {
            c.add(One, Convex(&[left, (top.0 - 0.4 * reach, top.1), (top.0 + 0.4 * reach, top.1), right]));
        } else {
            let cord = r.between(0.07, 0.13);
            c.add(One, Line(left, top, cord));
            c.add(One, Line(top, right, cord));
        }
    }
    if r.chance(0.6) {
        // Around the ankle.
        let y = back.1 - r.between(0.3, 0.6);
        c.add(One, Line((0.3, y - 0.05), (0.86, y), r.between(0.06, 0.12)));
        c.add(One, Line((0.86, y), back, r.between(0.06, 0.14)));
    }
    c.paint(&fabric);
}

pub(super) fn sneaker(c: &mut Canvas, r: &mut Random) {
    let fabric = cloth(r);
    let ground = 0.5 + r.bell(0.12);
    let (toe, collar) = (r.between(0.2, 0.36), r.between(0.48, 0.86));
    let instep = r.between(-0.1, 0.3);
    c.add(One, Ellipse((-0.6, ground - toe / 2.0), 0.32, toe / 2.0 + 0.06));
    c.add(
        One,
        Convex(&[
            (-0.62, ground),
            (-0.62, ground - toe),
            (instep, ground - collar),
            (0.84, ground - collar + r.bell(0.1)),
            (0.9, ground),
        ]),
    );
    c.cut(One, Ellipse(((instep + 0.85) / 2.0, ground - collar - 0.03), (0.85 - instep) / 2.2, r.between(0.06, 0.16)));
    c.paint(&fabric);
    // The sole.
    c.add(One, Line((-0.82, ground), (0.84, ground), r.between(0.1, 0.2)));
    c.tint(contrast(r, fabric.shade, 0.4), 0.95);
    match r.below(3) {
        0 => {
            for _ in 0..3 {
                let x = r.between(-0.35, 0.45);
                c.add(One, Line((x, ground - 0.1), (x - 0.14, ground - 0.4), 0.06));
            }
            c.tint(contrast(r, fabric.shade, 0.35), 0.9);
        }
        1 => {
            c.add(One, Line((-0.4, ground - toe), (instep, ground - collar + 0.05), 0.12));
            c.tint(contrast(r, fabric.shade, 0.3), 0.9);
        }
        _ => {}
    }
}

pub(super) fn ankle_boot(c: &mut Canvas, r: &mut Random) {
    let fabric = cloth(r);
    let ground = 0.72 + r.bell(0.12);
    let (toe, shaft) = (r.between(0.26, 0.4), r.between(0.95, 1.55));
    let front = r.between(-0.1, 0.22);
    let back = 0.84 + r.bell(0.06);
    let heel = if r.chance(0.4) { r.between(0.15, 0.4) } else { 0.06 };
    c.add(One, Ellipse((-0.58, ground - toe / 2.0), 0.34, toe / 2.0));
    c.add(
        One,
        Convex(&[
            (-0.6, ground),
            (-0.6, ground - toe),
            (front - 0.1, ground - 0.6),
            (back, ground - 0.6),
            (back, ground - heel),
        ]),
    );
    c.add(
        One,
        Convex(&[
            (front - 0.14, ground - 0.5),
            (front + r.bell(0.1), ground - shaft),
            (back + r.bell(0.06), ground - shaft),
            (back, ground - 0.5),
        ]),
    );
    c.paint(&fabric);
    let dark = contrast(r, fabric.shade, 0.3);
    if heel > 0.1 {
        c.add(One, Limb((back - 0.1, ground - heel - 0.05), (back - 0.1, ground + 0.04), 0.3, r.between(0.12, 0.28)));
        c.add(One, Line((-0.8, ground), (0.0, ground), 0.09));
    } else {
        c.add(One, Line((-0.82, ground), (back, ground), r.between(0.08, 0.2)));
    }
    c.paint(&Fabric { shade: dark, ..Fabric::PLAIN });
    if r.chance(0.5) {
        let y = ground - r.between(0.4, shaft - 0.2);
        c.add(One, Line((front, y), (back, y + r.bell(0.2)), 0.08));
        c.tint(dark, 0.8);
    }
}
