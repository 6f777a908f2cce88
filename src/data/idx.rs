//! IDX, the format of the MNIST family.
//!
//! ```text
//! byte 0, 1   0
//! byte 2      element type: 8 is unsigned bytes, the only one read here
//! byte 3      rank r: 3 for images, 1 for labels
//! r x 4       sizes, big-endian, unsigned: count, rows, columns
//! the rest    the elements, last index fastest; then the file ends
//! ```
//!
//! A file may be packed by gzip, whatever its name says: the first two bytes tell.
//!
//! **Invariant:** nothing is allocated on the header's word. A buffer starts with at most 1 MiB and grows as
//! bytes arrive, so a file of ten bytes that promises a terabyte costs 1 MiB; one byte past the promised
//! length ends the reading, so a gzip bomb is never unpacked.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::error::DataError;

/// The most bytes that are read from one file, unpacked: twenty times Fashion-MNIST's training images.
pub const MAX_BYTES: u64 = 1 << 30;

const UPFRONT: u64 = 1 << 20;
const UNSIGNED_BYTE: u8 = 8;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The contents of an IDX file of rank 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// `count * rows * cols` bytes: image after image, row after row.
    pub pixels: Vec<u8>,
    /// The number of images, at least 1.
    pub count: usize,
    /// The height of each, in pixels, at least 1.
    pub rows: usize,
    /// The width of each, in pixels, at least 1.
    pub cols: usize,
}

/// Reads images (IDX of rank 3, unsigned bytes) from `path`, plain or gzip.
///
/// Where there is no such file, the same name with `.gz` added or taken away is read.
///
/// # Errors
///
/// [`DataError::Missing`], [`DataError::NotAFile`] or [`DataError::Io`] if it cannot be read; otherwise what
/// [`images_from`] says.
pub fn read_images(path: impl AsRef<Path>) -> Result<Images, DataError> {
    let (file, path) = open(path.as_ref())?;
    images_from(file, &path)
}

/// Reads labels (IDX of rank 1, unsigned bytes) from `path`, plain or gzip.
///
/// Where there is no such file, the same name with `.gz` added or taken away is read.
///
/// # Errors
///
/// [`DataError::Missing`], [`DataError::NotAFile`] or [`DataError::Io`] if it cannot be read; otherwise what
/// [`labels_from`] says.
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<u8>, DataError> {
    let (file, path) = open(path.as_ref())?;
    labels_from(file, &path)
}

/// Reads images from the bytes that `reader` gives, plain or gzip; errors call them `name`.
///
/// # Errors
///
/// [`DataError::Header`] if this is not IDX of rank 3 with unsigned bytes, [`DataError::Empty`] if a size is
/// 0, [`DataError::TooLarge`] past [`MAX_BYTES`], [`DataError::Truncated`] or [`DataError::Trailing`] if the
/// length is not the promised one, [`DataError::Gzip`] for a broken gzip stream, [`DataError::Io`] if reading
/// fails.
///
/// ```
/// use foldgrad::data::idx;
/// let bytes = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 10, 20, 30, 40];
/// let images = idx::images_from(&bytes[..], "example")?;
/// assert_eq!((images.count, images.rows, images.cols), (1, 2, 2));
/// assert_eq!(images.pixels, [10, 20, 30, 40]);
/// assert!(idx::images_from(&bytes[..19], "example").is_err());
/// # Ok::<(), foldgrad::data::DataError>(())
/// ```
pub fn images_from(reader: impl Read, name: impl AsRef<Path>) -> Result<Images, DataError> {
    let ([count, rows, cols], pixels) = elements(reader, name.as_ref(), ["images", "rows", "columns"])?;
    Ok(Images { pixels, count, rows, cols })
}

/// Reads labels from the bytes that `reader` gives, plain or gzip; errors call them `name`.
///
/// # Errors
///
/// Those of [`images_from`], for rank 1.
pub fn labels_from(reader: impl Read, name: impl AsRef<Path>) -> Result<Vec<u8>, DataError> {
    let ([_], labels) = elements(reader, name.as_ref(), ["labels"])?;
    Ok(labels)
}

/// Opens `path`, or its twin with or without `.gz`, and says which it was.
fn open(path: &Path) -> Result<(File, PathBuf), DataError> {
    let twin = match path.extension() {
        Some(extension) if extension == "gz" => path.with_extension(""),
        _ => {
            let mut name = path.as_os_str().to_owned();
            name.push(".gz");
            PathBuf::from(name)
        }
    };
    for candidate in [path, &twin] {
        let fail = |source| DataError::Io { path: candidate.to_owned(), action: "read", source };
        // Asked before opening: to open a pipe that nobody writes to would wait for ever.
        let kind = match std::fs::metadata(candidate) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(fail(error)),
        };
        if !kind.is_file() {
            let found = if kind.is_dir() { "a directory" } else { "a pipe, socket or device" };
            return Err(DataError::NotAFile { path: candidate.to_owned(), found });
        }
        return Ok((File::open(candidate).map_err(fail)?, candidate.to_owned()));
    }
    Err(DataError::Missing { path: path.to_owned() })
}

/// The sizes, named by `fields`, and the elements.
fn elements<const RANK: usize>(
    reader: impl Read,
    path: &Path,
    fields: [&'static str; RANK],
) -> Result<([usize; RANK], Vec<u8>), DataError> {
    let mut stream = Unpacked::new(reader, path)?;
    let mut start = [0; 4];
    stream.fill(&mut start, RANK)?;
    check_start(start, RANK, path)?;

    let mut sizes = [0_u32; RANK];
    for size in &mut sizes {
        let mut bytes = [0; 4];
        stream.fill(&mut bytes, RANK)?;
        *size = u32::from_be_bytes(bytes);
    }
    if let Some(empty) = sizes.iter().position(|&size| size == 0) {
        return Err(DataError::Empty { what: path.display().to_string(), field: fields[empty] });
    }
    let product = sizes.map(|size| size.to_string()).join(" x ");
    let length = sizes
        .iter()
        .try_fold(1_u64, |product, &size| product.checked_mul(u64::from(size)))
        .filter(|&length| length <= MAX_BYTES);
    let Some(length) = length else {
        return Err(DataError::TooLarge { path: path.to_owned(), promised: product, limit: MAX_BYTES });
    };
    let elements = stream.rest(length, product)?;
    // Each size is at most the length, and that many bytes are in memory: no `usize` is too small.
    Ok((sizes.map(|size| size as usize), elements))
}

fn check_start(start: [u8; 4], rank: usize, path: &Path) -> Result<(), DataError> {
    let fail = |field, expected: String, found: String| {
        Err(DataError::Header { path: path.to_owned(), field, expected, found })
    };
    let [zero, zero_too, element, found_rank] = start;
    if [zero, zero_too] != [0, 0] {
        let expected = format!("{:#010x}", 0x0800 + rank);
        return fail("magic number", expected, format!("{:#010x}", u32::from_be_bytes(start)));
    }
    if element != UNSIGNED_BYTE {
        let name = match element {
            0x09 => "signed bytes",
            0x0b => "16-bit integers",
            0x0c => "32-bit integers",
            0x0d => "32-bit floats",
            0x0e => "64-bit floats",
            _ => "no type of the format",
        };
        return fail("element type", "8 (unsigned bytes)".into(), format!("{element} ({name})"));
    }
    if usize::from(found_rank) != rank {
        let kind = |rank| match rank {
            1 => "labels",
            3 => "grey-scale images",
            _ => "neither images nor labels",
        };
        let show = |rank: usize| format!("{rank} ({})", kind(rank));
        return fail("rank", show(rank), show(found_rank.into()));
    }
    Ok(())
}

/// The unpacked bytes of a file.
struct Unpacked<'a, R: Read> {
    bytes: Packing<BufReader<Chain<Cursor<Vec<u8>>, R>>>,
    read: u64,
    path: &'a Path,
}

enum Packing<R> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<R>>),
}

impl<'a, R: Read> Unpacked<'a, R> {
    fn new(mut reader: R, path: &'a Path) -> Result<Self, DataError> {
        let mut magic = Vec::new();
        let peeked = reader.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut magic);
        peeked.map_err(|source| DataError::Io { path: path.to_owned(), action: "read", source })?;
        let packed = magic == GZIP_MAGIC;
        let whole = BufReader::with_capacity(1 << 16, Cursor::new(magic).chain(reader));
        let bytes = if packed { Packing::Gzip(Box::new(MultiGzDecoder::new(whole))) } else { Packing::Plain(whole) };
        Ok(Self { bytes, read: 0, path })
    }

    /// The next four bytes of a header of rank `rank`.
    fn fill(&mut self, bytes: &mut [u8; 4], rank: usize) -> Result<(), DataError> {
        let mut got = Vec::with_capacity(bytes.len());
        self.read_up_to(bytes.len() as u64, &mut got)?;
        match got.try_into() {
            Ok(four) => {
                *bytes = four;
                Ok(())
            }
            Err(_) => Err(DataError::Truncated {
                path: self.path.to_owned(),
                promised: format!("a header of {} x 4", rank + 1),
                expected: 4 * (rank as u64 + 1),
                found: self.read,
            }),
        }
    }

    /// All that follows the header, which has to be `length` bytes.
    fn rest(mut self, length: u64, promised: String) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::with_capacity(length.min(UPFRONT) as usize);
        // One more than promised: finds bytes that should not be there, and makes the gzip decoder reach the
        // end of its stream, where it compares the checksum.
        self.read_up_to(length + 1, &mut bytes)?;
        let found = bytes.len() as u64;
        let path = self.path.to_owned();
        match found.cmp(&length) {
            std::cmp::Ordering::Less => Err(DataError::Truncated { path, promised, expected: length, found }),
            std::cmp::Ordering::Greater => Err(DataError::Trailing { path, promised, expected: length }),
            std::cmp::Ordering::Equal => {
                bytes.shrink_to_fit();
                Ok(bytes)
            }
        }
    }

    fn read_up_to(&mut self, most: u64, into: &mut Vec<u8>) -> Result<(), DataError> {
        let before = into.len();
        let result = match &mut self.bytes {
            Packing::Plain(reader) => reader.take(most).read_to_end(into),
            Packing::Gzip(decoder) => decoder.take(most).read_to_end(into),
        };
        self.read += (into.len() - before) as u64;
        let path = || self.path.to_owned();
        match result {
            Ok(_) => Ok(()),
            Err(source) if self.is_gzip() && is_contents_error(source.kind()) => {
                Err(DataError::Gzip { path: path(), decoded: self.read, source })
            }
            Err(source) => Err(DataError::Io { path: path(), action: "read", source }),
        }
    }

    fn is_gzip(&self) -> bool {
        matches!(self.bytes, Packing::Gzip(_))
    }
}

/// Whether the decoder complains about what it read, rather than that it could not read.
fn is_contents_error(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
