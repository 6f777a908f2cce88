//! The download, against servers of this machine's own: none of these tests leaves the loopback interface.
#![cfg(feature = "download")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use foldgrad::data::download::{File, Limits, fetch};
use foldgrad::data::fashion_mnist::{self, LoadOptions};
use foldgrad::data::{DataError, DataSource, silhouettes};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// How a server behaves.
#[derive(Clone, Copy)]
enum Manner {
    /// As it should: whole files, and ranges.
    Good,
    /// It closes the connection after so many bytes of each body.
    Cuts(usize),
    /// It sends whole files whatever was asked for.
    IgnoresRange,
    /// It answers each range with another one, and has the true length in its header.
    WrongRange,
    /// It answers each range with 416.
    NoRange,
    /// It answers everything with this status.
    Status(u16),
    /// It sends the file without telling its length.
    NoLength,
    /// It takes the connection and says nothing.
    Silent,
}

struct Server {
    address: SocketAddr,
    /// The path and the start of the range of each request.
    log: Arc<Mutex<Vec<(String, u64)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn new(manner: Manner, files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let files: HashMap<String, Vec<u8>> =
            files.iter().map(|(name, bytes)| (format!("/data/{name}"), bytes.to_vec())).collect();
        let files = Arc::new(files);
        let log = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (log, stop) = (log.clone(), stop.clone());
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (files, log, stop) = (files.clone(), log.clone(), stop.clone());
                    // A client that hangs up early is part of some tests.
                    thread::spawn(move || drop(serve(stream.unwrap(), manner, &files, &log, &stop)));
                }
            }
        });
        Self { address, log, stop, thread: Some(thread) }
    }

    fn url(&self) -> String {
        format!("http://{}/data/", self.address)
    }

    fn starts(&self) -> Vec<u64> {
        self.log.lock().unwrap().iter().map(|(_, start)| *start).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(
    mut stream: TcpStream,
    manner: Manner,
    files: &HashMap<String, Vec<u8>>,
    log: &Mutex<Vec<(String, u64)>>,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let path = lines.next().transpose()?.unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let mut from = 0;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push((path.clone(), from as u64));
    let Some(file) = files.get(&path) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let (status, start) = match manner {
        Manner::Silent => {
            while !stop.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(10));
            }
            return Ok(());
        }
        Manner::Status(status) => (status, file.len()),
        Manner::NoRange if from > 0 => (416, file.len()),
        Manner::WrongRange if from > 0 => (206, from / 2),
        Manner::IgnoresRange => (200, 0),
        _ if from >= file.len() => (416, file.len()),
        _ if from > 0 => (206, from),
        _ => (200, 0),
    };
    let body = &file[start..];
    write!(stream, "HTTP/1.1 {status} Whatever\r\nConnection: close\r\n")?;
    if status == 206 {
        write!(stream, "Content-Range: bytes {start}-{}/{}\r\n", file.len() - 1, file.len())?;
    }
    if !matches!(manner, Manner::NoLength) {
        write!(stream, "Content-Length: {}\r\n", body.len())?;
    }
    stream.write_all(b"\r\n")?;
    let end = if let Manner::Cuts(after) = manner { after.min(body.len()) } else { body.len() };
    stream.write_all(&body[..end])?;
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    // Closing with unread bytes would reset the connection and lose what was sent.
    stream.read(&mut [0; 64]).map(drop)
}

/// The address of a server that is not there.
fn dead() -> String {
    format!("http://{}/", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

fn limits() -> Limits {
    let second = Duration::from_secs(1);
    Limits { connect: second, stall: 5 * second, request: 20 * second, lock: 20 * second, ..Limits::default() }
}

fn contents() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn file(name: &str, bytes: &[u8]) -> File {
    let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect();
    File { name: name.into(), sha256 }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".lock");
    names.sort();
    names
}

/// Fetches `contents()` from servers of these manners, from a part with `part` in it if that is not empty. Returns the
/// directory, the starts of the ranges that each server was asked for, and the source that gave the file.
#[track_caller]
fn check_fetched(manners: &[Manner], part: &[u8]) -> (Vec<Vec<u64>>, Option<usize>) {
    let bytes = contents();
    let servers: Vec<Server> = manners.iter().map(|&manner| Server::new(manner, &[("file.gz", &bytes)])).collect();
    let sources: Vec<String> = servers.iter().map(Server::url).collect();
    let root = TempDir::new().unwrap();
    let directory = root.path().join("made/on/demand");
    if !part.is_empty() {
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("file.gz.part"), part).unwrap();
    }
    let fetched = fetch(&file("file.gz", &bytes), &sources, &directory, &limits(), &mut |_| ()).unwrap();
    assert_eq!(fetched.path, directory.join("file.gz"));
    assert!(fs::read(&fetched.path).unwrap() == bytes, "the bytes arrived as they are");
    assert_eq!(names(&directory), ["file.gz"], "no part stays behind");
    let from = fetched.source.map(|source| sources.iter().position(|other| *other == source).unwrap());
    (servers.iter().map(Server::starts).collect(), from)
}

#[test]
fn a_file_arrives_whole() {
    for manner in [Manner::Good, Manner::IgnoresRange, Manner::NoLength] {
        assert_eq!(check_fetched(&[manner], b""), (vec![vec![0]], Some(0)));
    }
}

#[test]
fn a_cut_connection_is_resumed() {
    let expected = vec![vec![0, 100_000, 200_000]];
    assert_eq!(check_fetched(&[Manner::Cuts(100_000)], b""), (expected, Some(0)));
}

#[test]
fn a_source_that_cuts_too_often_hands_over_to_the_next() {
    let (starts, from) = check_fetched(&[Manner::Cuts(1000), Manner::Good], b"");
    assert_eq!(starts, [vec![0, 1000, 2000, 3000, 4000], vec![5000]], "what the first gave is not asked for again");
    assert_eq!(from, Some(1));
}

#[test]
fn the_part_of_an_earlier_run_is_resumed() {
    let half = &contents()[..150_000];
    assert_eq!(check_fetched(&[Manner::Good], half), (vec![vec![150_000]], Some(0)));
    // The server sends the whole; it has another range; it has none.
    assert_eq!(check_fetched(&[Manner::IgnoresRange], half), (vec![vec![150_000]], Some(0)));
    assert_eq!(check_fetched(&[Manner::WrongRange], half), (vec![vec![150_000, 0]], Some(0)));
    assert_eq!(check_fetched(&[Manner::NoRange], half), (vec![vec![150_000, 0]], Some(0)));
}

#[test]
fn a_part_that_is_complete_needs_no_server() {
    assert_eq!(check_fetched(&[Manner::Status(500)], &contents()), (vec![vec![]], Some(0)));
}

#[test]
fn a_part_with_wrong_bytes_or_too_many_is_dropped() {
    // Found out by the hash: the file is fetched once more, from its beginning.
    assert_eq!(check_fetched(&[Manner::Good], &[7; 150_000]), (vec![vec![150_000, 0]], Some(0)));
    let long = [contents(), vec![1; 10]].concat();
    assert_eq!(check_fetched(&[Manner::Good], &long), (vec![vec![300_010, 0]], Some(0)));
}

#[test]
fn a_source_that_fails_hands_over_to_the_next() {
    for status in [403, 404, 500, 503] {
        assert_eq!(check_fetched(&[Manner::Status(status), Manner::Good], b""), (vec![vec![0], vec![0]], Some(1)));
    }
}

#[test]
fn other_bytes_are_never_kept() {
    let (wrong, right) = (vec![9; 1000], contents());
    let first = Server::new(Manner::Good, &[("file.gz", &wrong)]);
    let second = Server::new(Manner::Good, &[("file.gz", &right)]);
    let directory = TempDir::new().unwrap();
    let wanted = file("file.gz", &right);

    let only_wrong = fetch(&wanted, &[first.url()], directory.path(), &limits(), &mut |_| ()).unwrap_err();
    assert!(only_wrong.to_string().contains("another SHA-256"), "{only_wrong}");
    assert!(names(directory.path()).is_empty());

    // Under the final name too: what lies there and is not genuine is replaced.
    fs::write(directory.path().join("file.gz"), b"damaged").unwrap();
    let sources = [first.url(), second.url()];
    let fetched = fetch(&wanted, &sources, directory.path(), &limits(), &mut |_| ()).unwrap();
    assert_eq!(fetched.source, Some(second.url()));
    assert!(fs::read(fetched.path).unwrap() == right);
    assert_eq!(second.starts(), [0], "nothing of the wrong file is kept to be resumed");

    let again = fetch(&wanted, &sources, directory.path(), &limits(), &mut |_| ()).unwrap();
    assert_eq!((again.source, second.starts().len()), (None, 1), "what is there is not fetched again");
}

#[test]
fn when_all_are_dead_each_is_named() {
    let directory = TempDir::new().unwrap();
    let sources = [dead(), dead()];
    let start = Instant::now();
    let error = fetch(&file("f", b"x"), &sources, directory.path(), &limits(), &mut |_| ()).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10));
    let DataError::Download { attempts, .. } = &error else { panic!("{error}") };
    let urls: Vec<_> = attempts.iter().map(|attempt| attempt.url.trim_end_matches('f').to_owned()).collect();
    assert_eq!(urls, sources);
    assert!(sources.iter().all(|source| error.to_string().contains(source)), "{error}");
}

#[test]
fn a_silent_source_is_given_up() {
    let server = Server::new(Manner::Silent, &[("f", b"x")]);
    let limits = Limits { stall: Duration::from_millis(200), ..limits() };
    let directory = TempDir::new().unwrap();
    let start = Instant::now();
    let error = fetch(&file("f", b"x"), &[server.url()], directory.path(), &limits, &mut |_| ()).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{error}");
    assert!(matches!(error, DataError::Download { .. }), "{error}");
}

#[test]
fn a_source_cannot_fill_the_disk() {
    let bytes = contents();
    let limits = Limits { max_bytes: 100_000, ..limits() };
    // It says how much it will send; it does not.
    for manner in [Manner::Good, Manner::NoLength] {
        let server = Server::new(manner, &[("file.gz", &bytes)]);
        let directory = TempDir::new().unwrap();
        let mut most = 0;
        let mut watch = |progress: foldgrad::data::download::Progress<'_>| most = most.max(progress.received);
        let error =
            fetch(&file("file.gz", &bytes), &[server.url()], directory.path(), &limits, &mut watch).unwrap_err();
        assert!(error.to_string().contains("the most that are taken are 100000"), "{error}");
        assert!(most <= 100_000);
        let left = fs::metadata(directory.path().join("file.gz.part")).map_or(0, |part| part.len());
        assert_eq!(left, 0);
    }
}

#[test]
fn progress_tells_the_file_and_how_far_it_is() {
    let bytes = contents();
    let server = Server::new(Manner::Good, &[("file.gz", &bytes)]);
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("file.gz.part"), &bytes[..1000]).unwrap();
    let mut seen = Vec::new();
    let mut watch = |progress: foldgrad::data::download::Progress<'_>| {
        seen.push((progress.file.to_owned(), progress.received, progress.total));
    };
    fetch(&file("file.gz", &bytes), &[server.url()], directory.path(), &limits(), &mut watch).unwrap();
    assert_eq!(seen.first(), Some(&("file.gz".into(), 1000, Some(300_000))));
    assert_eq!(seen.last(), Some(&("file.gz".into(), 300_000, Some(300_000))));
    assert!(seen.is_sorted_by_key(|(_, received, _)| *received));
}

#[test]
fn two_at_once_download_once() {
    let bytes = contents();
    let server = Server::new(Manner::Cuts(100_000), &[("file.gz", &bytes)]);
    let directory = TempDir::new().unwrap();
    let sources = [server.url()];
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let fetched =
                    fetch(&file("file.gz", &bytes), &sources, directory.path(), &limits(), &mut |_| ()).unwrap();
                assert!(fs::read(fetched.path).unwrap() == bytes);
            });
        }
    });
    assert_eq!(server.starts(), [0, 100_000, 200_000]);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let root = TempDir::new().unwrap();
    let occupied = root.path().join("occupied");
    fs::write(&occupied, b"a file where the directory should be").unwrap();
    let error = fetch(&file("f", b"x"), &[dead()], &occupied, &limits(), &mut |_| ()).unwrap_err();
    assert!(matches!(&error, DataError::Io { path, .. } if *path == occupied), "{error}");
}

fn gzip_idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&[0, 0, 8, sizes.len() as u8]).unwrap();
    for size in sizes {
        encoder.write_all(&size.to_be_bytes()).unwrap();
    }
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_data_set_is_downloaded_once_and_then_cached() {
    let (train, test) = silhouettes::generate(5, 20, 10);
    let files: Vec<Vec<u8>> = [&train, &test]
        .into_iter()
        .flat_map(|set| {
            let count = set.len() as u32;
            [gzip_idx(&[count, 28, 28], set.images()), gzip_idx(&[count], set.labels())]
        })
        .collect();
    let names = ["a-images.gz", "a-labels.gz", "b-images.gz", "b-labels.gz"];
    let served: Vec<(&str, &[u8])> = names.iter().zip(&files).map(|(name, file)| (*name, file.as_slice())).collect();
    let bad = Server::new(Manner::Status(503), &served);
    let good = Server::new(Manner::Good, &served);
    let root = TempDir::new().unwrap();
    let cache = root.path().join("cache");
    let mut options = LoadOptions {
        cache: Some(cache.clone()),
        sources: vec![bad.url(), good.url()],
        files: [0, 1, 2, 3].map(|i| file(names[i], &files[i])),
        limits: limits(),
        built_in: [20, 10],
        ..LoadOptions::default()
    };
    let fashion = fashion_mnist::load(&options).unwrap();
    assert_eq!((&fashion.train, &fashion.test), (&train, &test));
    assert_eq!(fashion.source, DataSource::Downloaded(cache.clone()));
    assert_eq!((bad.starts().len(), good.starts().len()), (1, 4), "a source that failed is asked last from then on");

    let again = fashion_mnist::load(&options).unwrap();
    assert_eq!((again.source, good.starts().len()), (DataSource::Cache(cache.clone()), 4));
    assert_eq!(again.train, train);

    // One damaged file: it alone is fetched again; without a network the built-in set steps in, and says why.
    let damaged = cache.join("b-labels.gz");
    fs::write(&damaged, b"damaged").unwrap();
    options.offline = true;
    let DataSource::BuiltIn { reason } = fashion_mnist::load(&options).unwrap().source else { panic!("not built in") };
    assert!(reason.contains("b-labels.gz") && reason.contains("damaged"), "{reason}");
    options.offline = false;
    assert_eq!(fashion_mnist::load(&options).unwrap().source, DataSource::Downloaded(cache.clone()));
    assert_eq!(good.starts().len(), 5);

    fs::remove_file(&damaged).unwrap();
    options.sources = vec![dead()];
    let DataSource::BuiltIn { reason } = fashion_mnist::load(&options).unwrap().source else { panic!("not built in") };
    assert!(reason.contains("b-labels.gz") && reason.contains(&options.sources[0]), "{reason}");
}
