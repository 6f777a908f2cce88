//! Shapes as distances: a shape is a function `d(u, v)`, negative inside, in garment units.
//!
//! ```text
//! union = min(d1, d2)     a without b = max(da, -db)     coverage of a pixel = clamp(1/2 - d / pixel width, 0, 1)
//! ```
//!
//! The garment lies in [-1, 1] x [-1, 1], u to the right, v down. Position, turn, shear, scale and bending are
//! applied to the coordinates of the pixels, once an image, so that no shape knows of them.
//!
//! **Invariant:** only `+ - * /`, `sqrt`, `floor`, comparisons and conversions touch a float here. IEEE 754
//! fixes their results to the last bit (and Rust never fuses a product with a sum by itself), so an image is
//! the same on every machine. Sines from a maths library would not be.

use super::random::Random;

/// The height and the width of an image, in pixels.
pub(super) const SIDE: usize = 28;
/// The number of pixels in an image.
pub(super) const PIXELS: usize = SIDE * SIDE;

pub(super) type Point = (f32, f32);
type Plane = [f32; PIXELS];

/// A piece of an outline.
#[derive(Clone, Copy)]
pub(super) enum Piece<'a> {
    /// A convex polygon, its corners in order.
    Convex(&'a [Point]),
    /// A straight limb with flat ends, from a point to a point, as wide as given at each.
    Limb(Point, Point, f32, f32),
    /// A line with round ends, as thick as given.
    Line(Point, Point, f32),
    /// An ellipse: centre, half the width, half the height.
    Ellipse(Point, f32, f32),
    /// The outline of such an ellipse, as thick as given.
    Ring(Point, f32, f32, f32),
}

/// On which side of the axis u = 0 a shape lies.
#[derive(Clone, Copy)]
pub(super) enum Side {
    /// Drawn as it is.
    One,
    /// Drawn with its mirror image: only u >= 0 counts.
    Both,
}

/// What a piece is made of: its brightness, 0 to 1, as a function of the place.
#[derive(Clone, Copy)]
pub(super) struct Fabric {
    /// The brightness where nothing else says otherwise.
    pub(super) shade: f32,
    /// The change of brightness across (u) and along (v) the garment, a unit.
    pub(super) gradient: (f32, f32),
    /// How much darker the outline is than the middle, which makes it look round.
    pub(super) relief: f32,
    /// Stripes: their number in a unit of u and of v, their phase, and their strength.
    pub(super) stripes: (f32, f32, f32, f32),
}

impl Fabric {
    /// Black, without any pattern.
    pub(super) const PLAIN: Self =
        Self { shade: 0.0, gradient: (0.0, 0.0), relief: 0.0, stripes: (0.0, 0.0, 0.0, 0.0) };
}

/// Where and how the garment lies in the image.
pub(super) struct Pose {
    /// The shift, in garment units (an image is 2 wide).
    pub(super) shift: Point,
    /// The scale across and along.
    pub(super) scale: Point,
    /// The tangent of half the angle by which it is turned.
    pub(super) turn: f32,
    /// The shear: how much u moves with v.
    pub(super) shear: f32,
    /// The bending: how far u moves, how far v moves.
    pub(super) bend: Point,
    /// The number of half waves of the bending in a unit, and its phase.
    pub(super) wave: Point,
    /// Whether left and right are exchanged.
    pub(super) mirrored: bool,
}

/// An image in the making.
pub(super) struct Canvas {
    u: Plane,
    v: Plane,
    across: Plane,
    distance: Plane,
    scratch: Plane,
    value: Plane,
    pixel: f32,
}

impl Canvas {
    pub(super) fn new() -> Box<Self> {
        let plane = [0.0; PIXELS];
        Box::new(Self { u: plane, v: plane, across: plane, distance: plane, scratch: plane, value: plane, pixel: 1.0 })
    }

    /// Starts an empty image in which all shapes lie as `pose` says.
    pub(super) fn start(&mut self, pose: &Pose) {
        let t2 = pose.turn * pose.turn;
        let (cos, sin) = ((1.0 - t2) / (1.0 + t2), 2.0 * pose.turn / (1.0 + t2));
        let side = if pose.mirrored { -1.0 } else { 1.0 };
        let place = |i: usize| (i as f32 + 0.5) / (SIDE as f32 / 2.0) - 1.0;
        let bend = |i: usize, reach: f32, phase: f32| reach * wave(place(i) * pose.wave.0 + phase);
        for row in 0..SIDE {
            let y = place(row) - pose.shift.1;
            let du = bend(row, pose.bend.0, pose.wave.1);
            for col in 0..SIDE {
                let x = place(col) - pose.shift.0;
                let dv = bend(col, pose.bend.1, pose.wave.1 + 0.7);
                let u = (x * cos + y * sin) / pose.scale.0;
                let v = (y * cos - x * sin) / pose.scale.1;
                let at = row * SIDE + col;
                self.u[at] = side * (u + pose.shear * v + du);
                self.v[at] = v + dv;
                self.across[at] = self.u[at].abs();
            }
        }
        self.value.fill(0.0);
        self.pixel = (2.0 / SIDE as f32) / ((pose.scale.0 + pose.scale.1) / 2.0);
        self.clear();
    }

    /// Starts a new piece.
    pub(super) fn clear(&mut self) {
        self.distance.fill(9.0);
    }

    /// Adds a shape to the piece.
    pub(super) fn add(&mut self, side: Side, shape: Piece<'_>) {
        self.measure(side, shape);
        for (d, &new) in self.distance.iter_mut().zip(&self.scratch) {
            *d = min(*d, new);
        }
    }

    /// Takes a shape out of the piece.
    pub(super) fn cut(&mut self, side: Side, shape: Piece<'_>) {
        self.measure(side, shape);
        for (d, &hole) in self.distance.iter_mut().zip(&self.scratch) {
            *d = max(*d, -hole);
        }
    }

    /// Puts the piece on the image, and starts a new one.
    pub(super) fn paint(&mut self, fabric: &Fabric) {
        // Cloth is never as black as the background.
        self.lay(fabric, 1.0, 0.18);
    }

    /// Takes the piece out of the image, down to the background, and starts a new one.
    pub(super) fn erase(&mut self) {
        self.tint(0.0, 1.0);
    }

    /// Moves the brightness under the piece by `strength` (0 to 1) of the way to `shade`, and starts a new one.
    pub(super) fn tint(&mut self, shade: f32, strength: f32) {
        self.lay(&Fabric { shade, ..Fabric::PLAIN }, strength, 0.0);
    }

    fn lay(&mut self, fabric: &Fabric, strength: f32, darkest: f32) {
        let sharp = 1.0 / self.pixel;
        let (across, along, phase, stripes) = fabric.stripes;
        let (du, dv) = fabric.gradient;
        for at in 0..PIXELS {
            let (u, v, d) = (self.u[at], self.v[at], self.distance[at]);
            let cover = strength * clamp(0.5 - d * sharp);
            let depth = clamp(-4.0 * d);
            let mut shade = fabric.shade + du * u + dv * v - fabric.relief * (1.0 - depth);
            shade += stripes * (1.0 - 4.0 * triangle(across * u + along * v + phase));
            self.value[at] += cover * (max(shade, darkest) - self.value[at]);
        }
        self.clear();
    }

    /// Rounds the image to bytes, with noise of the given strength (in steps of brightness) on the garment.
    pub(super) fn finish(&self, noise: f32, random: &mut Random, out: &mut [u8]) {
        for (values, bytes) in self.value.chunks_exact(8).zip(out.chunks_exact_mut(8)) {
            let grains = random.bits().to_le_bytes();
            for ((byte, &value), grain) in bytes.iter_mut().zip(values).zip(grains) {
                let grain = noise * (f32::from(grain) * (2.0 / 255.0) - 1.0);
                // The background stays black: the noise fades with the value.
                let value = 255.0 * value + grain * clamp(8.0 * value);
                *byte = (min(max(value, 0.0), 255.0) + 0.5) as u8;
            }
        }
    }

    /// The distance of every pixel from `shape`, into `scratch`.
    fn measure(&mut self, side: Side, shape: Piece<'_>) {
        match shape {
            Piece::Convex(corners) => self.measure_convex(side, corners),
            Piece::Limb(from, to, start, end) => {
                let (x, y) = (to.0 - from.0, to.1 - from.1);
                let length = (x * x + y * y).sqrt();
                let (nx, ny) = (-y / length, x / length);
                let at = |p: Point, width: f32| (p.0 + nx * width, p.1 + ny * width);
                let (a, b) = (start / 2.0, end / 2.0);
                self.measure_convex(side, &[at(from, a), at(to, b), at(to, -b), at(from, -a)]);
            }
            Piece::Line(a, b, thickness) => {
                let (x, y) = (b.0 - a.0, b.1 - a.1);
                let per_length = 1.0 / max(x * x + y * y, 1e-9);
                self.each(side, |u, v| {
                    let (pu, pv) = (u - a.0, v - a.1);
                    let t = clamp((pu * x + pv * y) * per_length);
                    let (du, dv) = (pu - t * x, pv - t * y);
                    (du * du + dv * dv).sqrt() - thickness / 2.0
                });
            }
            Piece::Ellipse(centre, width, height) => {
                let small = min(width, height);
                let (kx, ky) = (1.0 / width, 1.0 / height);
                self.each(side, |u, v| small * (norm((u - centre.0) * kx, (v - centre.1) * ky) - 1.0));
            }
            Piece::Ring(centre, width, height, thickness) => {
                let small = min(width, height);
                let (kx, ky) = (1.0 / width, 1.0 / height);
                self.each(side, |u, v| {
                    let d = small * (norm((u - centre.0) * kx, (v - centre.1) * ky) - 1.0);
                    max(d, -d) - thickness / 2.0
                });
            }
        }
    }

    /// The greatest of the distances from the lines through the sides: exact near the sides, which is where
    /// the coverage is neither 0 nor 1, and far cheaper than the true distance.
    fn measure_convex(&mut self, side: Side, corners: &[Point]) {
        let next = |i: usize| corners[(i + 1) % corners.len()];
        let area: f32 = (0..corners.len()).map(|i| corners[i].0 * next(i).1 - next(i).0 * corners[i].1).sum();
        let outward = if area < 0.0 { -1.0 } else { 1.0 };
        self.scratch.fill(-9.0);
        let across = match side {
            Side::One => &self.u,
            Side::Both => &self.across,
        };
        for (i, &from) in corners.iter().enumerate() {
            let to = next(i);
            let length = norm(to.0 - from.0, to.1 - from.1);
            if length < 1e-6 {
                continue;
            }
            let (nx, ny) = (outward * (to.1 - from.1) / length, outward * (from.0 - to.0) / length);
            let offset = nx * from.0 + ny * from.1;
            for ((d, &u), &v) in self.scratch.iter_mut().zip(across).zip(&self.v) {
                *d = max(*d, nx * u + ny * v - offset);
            }
        }
    }

    fn each(&mut self, side: Side, distance: impl Fn(f32, f32) -> f32) {
        let across = match side {
            Side::One => &self.u,
            Side::Both => &self.across,
        };
        for ((d, &u), &v) in self.scratch.iter_mut().zip(across).zip(&self.v) {
            *d = distance(u, v);
        }
    }
}

fn norm(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

// `f32::min` and `max` treat NaN, which takes three instructions; without, it is one.
fn min(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

fn clamp(x: f32) -> f32 {
    min(max(x, 0.0), 1.0)
}

/// A wave of period 1 between 0 and 1/2: the distance from the nearest whole number. The conversion rounds
/// towards 0, and vectorises where `floor` is a call; so `x` is moved to where the two agree.
fn triangle(x: f32) -> f32 {
    let x = x + 64.0;
    let part = x - (x as i32) as f32;
    min(part, 1.0 - part)
}

/// A wave of period 2 between -1 and 1 made of parabolas: close to `sin(pi x)`.
fn wave(x: f32) -> f32 {
    let part = x - 2.0 * ((x + 1.0) / 2.0).floor();
    4.0 * part * (1.0 - part.abs())
}
