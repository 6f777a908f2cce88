//! Fashion-MNIST (Xiao, Rasul, Vollgraf 2017), found by name.
//!
//! ```text
//! a named directory (--data, FASHION_MNIST_DIR)  → read it, or fail
//! else the cache, its files complete and genuine → read it
//! else a download into the cache                 → read it
//! else                                           → the built-in silhouettes, and the reason
//! ```
//!
//! A file in the cache is genuine if its SHA-256 is the published one. The files of a named directory are the
//! user's own affair: they may be plain, cut to fewer images, or another set of the same form.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::download::{self, File, Limits, Progress};
use super::error::DataError;
use super::idx;
use super::set::ImageSet;
use super::silhouettes;
use super::source::DataSource;

/// The names of the classes, in the order of the labels 0 to 9.
pub const FASHION_CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// The height and the width of an image, in pixels.
pub const SIDE: usize = 28;

/// Where the authors publish the files: their own server, and their repository.
pub const SOURCES: [&str; 2] = [
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
];

/// The four files with their SHA-256: training images and labels, test images and labels.
const FILES: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    ("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    ("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    ("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
];

/// Ten classes of garments, 28 x 28 bytes an image.
#[derive(Debug, Clone)]
pub struct Fashion {
    /// The training set: 60,000 images, if it is the whole.
    pub train: ImageSet,
    /// The test set: 10,000 images, if it is the whole.
    pub test: ImageSet,
    /// Where both come from. Show its [`notice`](DataSource::notice), if it has one.
    pub source: DataSource,
}

/// Where to look for Fashion-MNIST.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The directory that the user named. If there is one, nothing else is looked at, and what it lacks is an
    /// error.
    pub directory: Option<PathBuf>,
    /// The directory of the cache: the files lie in it directly. `None` if the user has no cache, and then
    /// nothing is downloaded either.
    pub cache: Option<PathBuf>,
    /// Where to download from: addresses that the name of a file is added to, in the order in which to ask.
    pub sources: Vec<String>,
    /// The files: training images and labels, test images and labels. Another list serves a mirror with other
    /// hashes, or a test.
    pub files: [File; 4],
    /// Whether to leave the network alone.
    pub offline: bool,
    /// How long to wait, and how much to take.
    pub limits: Limits,
    /// How many images to draw for training and for testing (at least 1 each) if the built-in set steps in: 60,000
    /// and 10,000.
    pub built_in: [usize; 2],
}

impl Default for LoadOptions {
    /// No directory, no cache, the authors' files from the authors' sources.
    fn default() -> Self {
        Self {
            directory: None,
            cache: None,
            sources: SOURCES.map(String::from).to_vec(),
            files: FILES.map(|(name, sha256)| File { name: name.into(), sha256: sha256.into() }),
            offline: false,
            limits: Limits::default(),
            built_in: [60_000, 10_000],
        }
    }
}

impl LoadOptions {
    /// The defaults, with the directory from `FASHION_MNIST_DIR` and the cache `foldgrad/fashion-mnist` under
    /// `XDG_CACHE_HOME`, or else under `LOCALAPPDATA` (on Windows), or else under `~/.cache`.
    ///
    /// A variable that is empty counts as unset, and so does an `XDG_CACHE_HOME` that is no absolute path.
    pub fn from_env() -> Self {
        Self::from_variables(|name| env::var_os(name))
    }

    /// [`LoadOptions::from_env`], with the environment as a function.
    ///
    /// ```
    /// use foldgrad::data::fashion_mnist::LoadOptions;
    /// let options = LoadOptions::from_variables(|name| (name == "HOME").then(|| "/home/ada".into()));
    /// assert_eq!(options.cache, Some("/home/ada/.cache/foldgrad/fashion-mnist".into()));
    /// ```
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let local = || if cfg!(windows) { path("LOCALAPPDATA") } else { None };
        let cache = path("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(local)
            .or_else(|| path("HOME").map(|home| home.join(".cache")))
            .map(|root| root.join("foldgrad").join("fashion-mnist"));
        Self { directory: path("FASHION_MNIST_DIR"), cache, ..Self::default() }
    }
}

/// Loads Fashion-MNIST, or the built-in set if it was not asked for by directory and cannot be had.
///
/// # Errors
///
/// See [`load_with`].
pub fn load(options: &LoadOptions) -> Result<Fashion, DataError> {
    load_with(options, &mut |_| ())
}

/// [`load`], telling `progress` how a download is getting on.
///
/// # Errors
///
/// Whatever is wrong with a directory that was named: [`DataError::NotADirectory`], [`DataError::Missing`], all
/// that [`idx::read_images`] says, [`DataError::CountMismatch`], [`DataError::Label`], or [`DataError::Shape`]
/// for images that are not 28 x 28. That a download fails is no error: the built-in set steps in, and
/// [`DataSource::BuiltIn`] tells why.
pub fn load_with(options: &LoadOptions, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Fashion, DataError> {
    if let Some(directory) = &options.directory {
        return read(directory, &options.files, DataSource::Directory);
    }
    match cached_or_downloaded(options, progress) {
        Ok((directory, source)) => read(directory, &options.files, source),
        Err(reason) => {
            let [train, test] = options.built_in.map(|count| count.max(1));
            let (train, test) = silhouettes::generate(silhouettes::SEED, train, test);
            Ok(Fashion { train, test, source: DataSource::BuiltIn { reason } })
        }
    }
}

type MakeSource = fn(PathBuf) -> DataSource;

/// The cache once all files are in it, or the reason why they are not.
fn cached_or_downloaded<'a>(
    options: &'a LoadOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(&'a Path, MakeSource), String> {
    let Some(cache) = options.cache.as_deref() else {
        return Err("no directory was named, and there is no cache to download into: none of XDG_CACHE_HOME and HOME \
                    is set"
            .into());
    };
    if options.offline {
        let lacking = options.files.iter().find(|file| !download::is_genuine(file, cache, &options.limits));
        return match lacking {
            None => Ok((cache, DataSource::Cache)),
            Some(file) => Err(format!(
                "no directory was named, {} is not in the cache {} (or is damaged), and the network was not to be used",
                file.name,
                cache.display()
            )),
        };
    }
    let mut sources = options.sources.clone();
    let mut source: MakeSource = DataSource::Cache;
    for file in &options.files {
        let fetched = download::fetch(file, &sources, cache, &options.limits, progress);
        if let Some(from) = fetched.map_err(|error| error.to_string())?.source {
            source = DataSource::Downloaded;
            // Ask the source that answered first for the next file: not every file shall wait for a dead one.
            sources.sort_by_key(|source| *source != from);
        }
    }
    Ok((cache, source))
}

/// Reads both sets from `directory`.
fn read(directory: &Path, files: &[File; 4], source: MakeSource) -> Result<Fashion, DataError> {
    let found = match std::fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some("a file"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("nothing"),
        Err(source) => return Err(DataError::Io { path: directory.to_owned(), action: "read", source }),
    };
    if let Some(found) = found {
        return Err(DataError::NotADirectory { path: directory.to_owned(), found });
    }
    let [train_images, train_labels, test_images, test_labels] =
        files.each_ref().map(|file| directory.join(&file.name));
    Ok(Fashion {
        train: read_set(&train_images, &train_labels)?,
        test: read_set(&test_images, &test_labels)?,
        source: source(directory.to_owned()),
    })
}

fn read_set(images_path: &Path, labels_path: &Path) -> Result<ImageSet, DataError> {
    // The labels are few: what is wrong with them shows before the images are unpacked.
    let labels = idx::read_labels(labels_path)?;
    let images = idx::read_images(images_path)?;
    let names = [images_path, labels_path].map(|path| path.display().to_string());
    if (images.rows, images.cols) != (SIDE, SIDE) {
        let [what, _] = names;
        return Err(DataError::Shape {
            what,
            field: "the size of an image",
            expected: format!("{SIDE} x {SIDE} pixels"),
            found: format!("{} x {}", images.rows, images.cols),
            mend: "this is not Fashion-MNIST: name another directory, or scale the images",
        });
    }
    let [images_name, labels_name] = &names;
    let size = (images.rows, images.cols);
    ImageSet::named(images.pixels, labels, size, FASHION_CLASSES.len(), [images_name, labels_name])
}
