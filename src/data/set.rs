//! Images and labels that belong together.

use std::ops::Range;

use super::error::DataError;

/// Grey-scale images with one label each.
///
/// **Invariant:** `images().len() == len() * rows() * cols()` and `labels().len() == len()`. Labels were
/// checked against the number of classes when the set was made.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageSet {
    images: Vec<u8>,
    labels: Vec<u8>,
    rows: usize,
    cols: usize,
}

impl ImageSet {
    /// Puts `images` (`n * rows * cols` bytes: image after image, row after row, 0 black to 255 white)
    /// together with their `n` `labels`, each below `classes`.
    ///
    /// # Errors
    ///
    /// [`DataError::Empty`] for a set without images or pixels, [`DataError::Shape`] if the bytes do not
    /// divide into images, [`DataError::CountMismatch`] if there are not as many labels,
    /// [`DataError::Label`] for a label that is no class.
    ///
    /// ```
    /// use foldgrad::data::ImageSet;
    /// let set = ImageSet::new(vec![0, 50, 100, 150, 200, 250], vec![1, 0], 1, 3, 2)?;
    /// assert_eq!(set.len(), 2);
    /// assert_eq!(set.image(1), Some(&[150, 200, 250][..]));
    /// assert!(ImageSet::new(vec![0, 50], vec![2, 0], 1, 1, 2).is_err());
    /// # Ok::<(), foldgrad::data::DataError>(())
    /// ```
    pub fn new(images: Vec<u8>, labels: Vec<u8>, rows: usize, cols: usize, classes: usize) -> Result<Self, DataError> {
        Self::named(images, labels, (rows, cols), classes, ["the images", "the labels"])
    }

    /// [`ImageSet::new`], with the names (of files, say) that an error shall give to images and labels.
    pub(super) fn named(
        images: Vec<u8>,
        labels: Vec<u8>,
        (rows, cols): (usize, usize),
        classes: usize,
        [image_name, label_name]: [&str; 2],
    ) -> Result<Self, DataError> {
        let sizes = [
            (image_name, "rows", rows),
            (image_name, "columns", cols),
            (image_name, "images", images.len()),
            (label_name, "labels", labels.len()),
            (label_name, "classes", classes),
        ];
        if let Some(&(what, field, _)) = sizes.iter().find(|(_, _, size)| *size == 0) {
            return Err(DataError::Empty { what: what.to_owned(), field });
        }
        let Some(pixels) = rows.checked_mul(cols).filter(|pixels| images.len().is_multiple_of(*pixels)) else {
            return Err(DataError::Shape {
                what: image_name.to_owned(),
                field: "length",
                expected: format!("a multiple of {rows} x {cols} bytes"),
                found: format!("{} bytes", images.len()),
                mend: "hand over whole images, or the sizes that they have",
            });
        };
        let count = images.len() / pixels;
        if count != labels.len() {
            return Err(DataError::CountMismatch {
                images: image_name.to_owned(),
                image_count: count,
                labels: label_name.to_owned(),
                label_count: labels.len(),
            });
        }
        if let Some(index) = labels.iter().position(|&label| usize::from(label) >= classes) {
            let found = labels[index];
            return Err(DataError::Label { what: label_name.to_owned(), index, found, classes });
        }
        Ok(Self { images, labels, rows, cols })
    }

    /// A set whose parts are consistent because of how they were made.
    pub(super) fn drawn(images: Vec<u8>, labels: Vec<u8>, rows: usize, cols: usize) -> Self {
        debug_assert_eq!(images.len(), labels.len() * rows * cols);
        Self { images, labels, rows, cols }
    }

    /// All pixels: image after image, row after row, 0 black to 255 white; `len() * rows() * cols()` bytes.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// The pixels of image `index`, `rows() * cols()` bytes, or `None` past the end.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        self.images.chunks_exact(self.pixels()).nth(index)
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The height of an image, in pixels.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The width of an image, in pixels.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The number of pixels in an image.
    pub fn pixels(&self) -> usize {
        self.rows * self.cols
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image: only [`silhouettes::generate`](super::silhouettes::generate), asked for 0
    /// images, makes such a set.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// A copy of the images in `range`.
    ///
    /// # Errors
    ///
    /// [`DataError::Range`] if the range is empty or goes past the end.
    pub fn range(&self, range: Range<usize>) -> Result<Self, DataError> {
        let pixels = self.pixels();
        let Some(labels) = self.labels.get(range.clone()).filter(|labels| !labels.is_empty()) else {
            return Err(DataError::Range { start: range.start, end: range.end, len: self.len() });
        };
        Ok(Self {
            images: self.images[range.start * pixels..range.end * pixels].to_vec(),
            labels: labels.to_vec(),
            rows: self.rows,
            cols: self.cols,
        })
    }

    /// A copy of the first `count` images, or of all if there are fewer.
    ///
    /// # Errors
    ///
    /// [`DataError::Range`] for `count == 0`.
    pub fn first(&self, count: usize) -> Result<Self, DataError> {
        self.range(0..count.min(self.len()))
    }
}

// A derived `Debug` would print 47 MB.
impl std::fmt::Debug for ImageSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ImageSet({} images of {} x {})", self.len(), self.rows, self.cols)
    }
}
