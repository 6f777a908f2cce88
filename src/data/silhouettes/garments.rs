//! The ten classes, one function each (the shoes are next door). All numbers are garment units: the image is 2 wide and 2 high.
//!
//! Classes overlap as they do in a wardrobe: a shirt is told from a pullover by its collar and buttons, a coat
//! by its opening and lapels, a dress from a T-shirt by its skirt.

use super::canvas::{Canvas, Fabric, Piece, Point, Side};
use super::cloth::{cloth, contrast};
use super::footwear::{ankle_boot, sandal, sneaker};
use super::random::Random;

use Piece::{Convex, Ellipse, Limb, Line, Ring};
use Side::{Both, One};

/// Draws a garment of one class.
pub(super) type Draw = fn(&mut Canvas, &mut Random);

/// The class functions, in the order of the labels.
pub(super) const GARMENTS: [Draw; 10] =
    [t_shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle_boot];

/// What shirts, pullovers, coats and dresses have in common.
struct Top {
    /// Half the width at the shoulder, waist and hem.
    widths: [f32; 3],
    /// Where shoulder, waist and hem are.
    heights: [f32; 3],
    /// The length of the sleeves, how far they stand out for each unit down, and their width at both ends.
    sleeves: Option<[f32; 4]>,
    /// Half the width and the depth of the neckline.
    neck: Point,
    /// Whether the neckline is pointed.
    pointed: bool,
}

impl Top {
    fn draw(&self, c: &mut Canvas, fabric: &Fabric) {
        let [shoulder, waist, hem] = self.widths;
        let [top, middle, bottom] = self.heights;
        let neck = self.neck.0;
        let slope = top + 0.3 * (shoulder - neck);
        // The halves reach past the axis and over each other, or a seam would show.
        c.add(Both, Convex(&[(-0.3, top), (neck, top), (shoulder, slope), (waist, middle), (-0.3, middle)]));
        c.add(Both, Convex(&[(-0.3, middle - 0.2), (waist, middle - 0.2), (hem, bottom), (-0.3, bottom)]));
        if let Some(sleeves) = self.sleeves {
            let [_, _, width, cuff] = sleeves;
            c.add(Both, Limb(self.armhole(), self.wrist(), width, cuff));
        }
        if self.pointed {
            let wide = neck + 0.02;
            c.cut(One, Convex(&[(-wide, top - 0.1), (wide, top - 0.1), (0.0, top + self.neck.1)]));
        } else {
            c.cut(One, Ellipse((0.0, top), neck, self.neck.1));
        }
        c.paint(fabric);
    }

    fn armhole(&self) -> Point {
        let width = self.sleeves.map_or(0.0, |[_, _, width, _]| width);
        (self.widths[0] - 0.12, self.heights[0] + 0.3 * (self.widths[0] - self.neck.0) + 0.42 * width)
    }

    fn wrist(&self) -> Point {
        let [length, out, ..] = self.sleeves.unwrap_or_default();
        let (x, y) = self.armhole();
        let norm = (1.0 + out * out).sqrt();
        (x + length * out / norm, y + length / norm)
    }
}

fn t_shirt(c: &mut Canvas, r: &mut Random) {
    let fabric = cloth(r);
    let shoulder = 0.5 + r.bell(0.1);
    let waist = shoulder - 0.04 + r.bell(0.1);
    let sleeveless = r.chance(0.12);
    let top = Top {
        widths: [if sleeveless { shoulder - 0.12 } else { shoulder }, waist, waist + 0.03 + r.bell(0.08)],
        heights: [-0.82 + r.bell(0.06), 0.05 + r.bell(0.2), 0.8 + r.bell(0.16)],
        sleeves: (!sleeveless).then(|| [r.between(0.26, 0.62), r.between(0.5, 1.4), 0.36, r.between(0.26, 0.36)]),
        neck: (r.between(0.16, 0.3), r.between(0.1, 0.34)),
        pointed: r.chance(0.25),
    };
    top.draw(c, &fabric);
    if r.chance(0.35) {
        let (y, w, h) = (-0.15 + r.bell(0.3), r.between(0.1, 0.3), r.between(0.05, 0.25));
        c.add(One, Ellipse((r.bell(0.08), y), w, h));
        c.tint(contrast(r, fabric.shade, 0.4), 0.9);
    }
}

fn trouser(c: &mut Canvas, r: &mut Random) {
    let fabric = cloth(r);
    let (top, bottom) = (-0.88 + r.bell(0.05), 0.88 + r.bell(0.14));
    let waist = 0.32 + r.bell(0.1);
    let crotch = -0.32 + r.bell(0.16);
    let (ankle, leg) = (0.3 + r.bell(0.24), r.between(0.2, 0.4));
    let hip = waist + r.between(0.0, 0.1);
    c.add(Both, Convex(&[(-0.3, top), (waist, top), (hip, crotch), (-0.3, crotch + 0.05)]));
    let inner = (ankle - leg / 2.0).max(0.02);
    let inseam = 0.02;
    c.add(Both, Convex(&[(inseam, crotch - 0.2), (hip - 0.02, crotch - 0.2), (inner + leg, bottom), (inner, bottom)]));
    c.paint(&fabric);
    if r.chance(0.6) {
        c.add(Both, Convex(&[(-0.3, top), (waist, top), (waist, top + 0.1), (-0.3, top + 0.1)]));
        c.tint(contrast(r, fabric.shade, 0.25), 0.8);
    }
}

fn pullover(c: &mut Canvas, r: &mut Random) {
    let fabric = cloth(r);
    let shoulder = 0.46 + r.bell(0.1);
    let waist = shoulder + r.bell(0.1);
    let collar = r.chance(0.25);
    let cuff = r.between(0.16, 0.24);
    let top = Top {
        widths: [shoulder, waist, waist - 0.02 + r.bell(0.06)],
        heights: [-0.8 + r.bell(0.08), 0.05 + r.bell(0.2), 0.78 + r.bell(0.14)],
        sleeves: Some([r.between(1.05, 1.5), r.between(0.08, 0.42), r.between(0.26, 0.36), cuff]),
        neck: (r.between(0.14, 0.24), if collar { 0.02 } else { r.between(0.06, 0.24) }),
        pointed: r.chance(0.15),
    };
    top.draw(c, &fabric);
    let [_, _, bottom] = top.heights;
    if collar {
        c.add(One, Limb((0.0, top.heights[0] - 0.14), (0.0, top.heights[0] + 0.08), 0.3, 0.36));
        c.paint(&Fabric { shade: fabric.shade - 0.06, ..fabric });
    }
    if r.chance(0.6) {
        let rib = contrast(r, fabric.shade, 0.2);
        let (x, y) = top.wrist();
        c.add(Both, Convex(&[(-0.3, bottom - 0.12), (waist, bottom - 0.12), (waist, bottom), (-0.3, bottom)]));
        c.add(Both, Ellipse((x, y), cuff / 2.0, 0.1));
        c.tint(rib, 0.6);
    }
}

fn dress(c: &mut Canvas, r: &mut Random) {
    let fabric = cloth(r);
    let shoulder = 0.3 + r.bell(0.08);
    let waist = r.between(0.18, 0.32);
    let arms = r.unit();
    let sleeves = if arms < 0.4 {
        None
    } else if arms < 0.75 {
        Some([r.between(0.2, 0.4), r.between(0.3, 1.2), 0.24, 0.2])
    } else {
        Some([r.between(0.8, 1.2), r.between(0.1, 0.4), 0.2, 0.15])
    };
    let top = Top {
        widths: [shoulder, waist, waist + r.between(0.02, 0.4)],
        heights: [-0.88 + r.bell(0.06), -0.15 + r.bell(0.2), 0.88 + r.bell(0.12)],
        sleeves,
        neck: (r.between(0.1, 0.22), r.between(0.08, 0.4)),
        pointed: r.chance(0.35),
    };
    top.draw(c, &fabric);
    if r.chance(0.3) {
        let y = top.heights[1];
        c.add(One, Line((-waist, y), (waist, y), 0.09));
        c.tint(contrast(r, fabric.shade, 0.3), 0.8);
    }
}

fn coat(c: &mut Canvas, r: &mut Random) {
    let fabric = cloth(r);
    let shoulder = 0.46 + r.bell(0.1);
    let waist = shoulder + r.bell(0.1);
    let top = Top {
        widths: [shoulder, waist, waist + 0.03 + r.bell(0.1)],
        heights: [-0.84 + r.bell(0.06), 0.0 + r.bell(0.2), 0.88 + r.bell(0.1)],
        sleeves: Some([r.between(1.1, 1.5), r.between(0.06, 0.34), r.between(0.27, 0.36), r.between(0.17, 0.25)]),
        neck: (r.between(0.12, 0.22), r.between(0.16, 0.5)),
        pointed: true,
    };
    top.draw(c, &fabric);
    let [y, _, bottom] = top.heights;
    let dark = contrast(r, fabric.shade, 0.3);
    let axis = r.bell(0.06);
    // The opening, over the whole length; hanging open, it shows the background.
    let (neck, depth) = top.neck;
    if r.chance(0.3) {
        let gap = r.between(0.02, 0.12);
        c.add(One, Convex(&[(axis - 0.01, y + depth - 0.1), (axis - gap, bottom), (axis + gap, bottom)]));
        c.erase();
    } else {
        c.add(One, Line((axis, y + depth), (axis + r.bell(0.04), bottom), r.between(0.05, 0.1)));
        c.tint(dark, 0.85);
    }
    // The lapels.
    c.add(Both, Line((neck, y), (0.03, y + depth + 0.06), r.between(0.1, 0.18)));
    c.tint(dark, r.between(0.3, 0.9));
    if r.chance(0.4) {
        let at = r.between(0.25, 0.45);
        c.add(Both, Line((0.14, at), (0.36, at + r.bell(0.08)), 0.06));
        c.tint(dark, 0.8);
    }
}

fn shirt(c: &mut Canvas, r: &mut Random) {
    let fabric = cloth(r);
    let shoulder = 0.47 + r.bell(0.1);
    let waist = shoulder - 0.02 + r.bell(0.1);
    let sleeves = if r.chance(0.35) {
        [r.between(0.35, 0.65), r.between(0.4, 1.2), 0.34, r.between(0.26, 0.34)]
    } else {
        [r.between(1.05, 1.45), r.between(0.08, 0.42), r.between(0.26, 0.34), r.between(0.14, 0.22)]
    };
    let top = Top {
        widths: [shoulder, waist, waist + 0.03 + r.bell(0.08)],
        heights: [-0.8 + r.bell(0.08), 0.05 + r.bell(0.2), 0.8 + r.bell(0.14)],
        sleeves: Some(sleeves),
        neck: (r.between(0.1, 0.18), r.between(0.06, 0.2)),
        pointed: true,
    };
    top.draw(c, &fabric);
    let [y, _, bottom] = top.heights;
    let (neck, depth) = top.neck;
    // The collar: two bright or dark leaves beside the neck.
    let leaf = contrast(r, fabric.shade, 0.25);
    c.add(Both, Limb((neck - 0.02, y - 0.04), (0.1, y + depth + 0.12), 0.1, 0.14));
    c.tint(leaf, 0.8);
    // The buttons, a column of dots that at this size runs into a line.
    let line = contrast(r, fabric.shade, 0.25);
    let end = if r.chance(0.25) { y + 0.7 } else { bottom };
    let mut at = y + depth + 0.08;
    let (step, size) = (r.between(0.15, 0.26), r.between(0.09, 0.14));
    while at < end {
        c.add(One, Ellipse((0.0, at), size / 2.0, size / 2.0));
        at += step;
    }
    c.add(One, Line((0.0, y + depth), (0.0, end), 0.035));
    c.tint(line, 0.9);
}

fn bag(c: &mut Canvas, r: &mut Random) {
    let fabric = cloth(r);
    let (wide, narrow) = (r.between(0.55, 0.88), r.between(0.5, 0.88));
    let (top, bottom) = (-0.3 + r.bell(0.35), 0.72 + r.bell(0.16));
    match r.below(4) {
        // A long strap, a short handle, two handles, none.
        0 => c.add(One, Ring((0.0, top + 0.05), narrow * 0.8, r.between(0.5, 0.75), r.between(0.05, 0.12))),
        1 => c.add(One, Ring((0.0, top), r.between(0.2, 0.4), r.between(0.25, 0.5), r.between(0.07, 0.14))),
        2 => c.add(Both, Ring((0.05, top), r.between(0.25, 0.4), r.between(0.3, 0.55), 0.07)),
        _ => {}
    }
    c.cut(One, Convex(&[(-1.5, top + 0.05), (1.5, top + 0.05), (1.5, 2.0), (-1.5, 2.0)]));
    c.paint(&Fabric { shade: contrast(r, fabric.shade, 0.2), ..Fabric::PLAIN });
    c.add(One, Convex(&[(-narrow, top), (narrow, top), (wide, bottom), (-wide, bottom)]));
    c.paint(&fabric);
    let detail = contrast(r, fabric.shade, 0.35);
    if r.chance(0.5) {
        let flap = top + r.between(0.15, 0.6);
        c.add(
            One,
            Convex(&[
                (-narrow, top),
                (narrow, top),
                (narrow * 0.9, flap - 0.1),
                (0.0, flap),
                (-narrow * 0.9, flap - 0.1),
            ]),
        );
        c.tint(detail, r.between(0.3, 0.9));
    }
    if r.chance(0.5) {
        c.add(One, Ellipse((0.0, (top + bottom) / 2.0), 0.1, 0.1));
        c.tint(contrast(r, detail, 0.4), 0.9);
    }
}
