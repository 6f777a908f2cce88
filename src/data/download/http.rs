//! One request: the rest of a file, appended to its part.
//!
//! ```text
//! Range: bytes=N-    206, from byte N          → append
//!                    200                       → the whole: start over
//!                    206 from elsewhere, 416   → delete the part, ask for the whole
//! ```
//!
//! There is no `If-Range`: a file that changed at the source would have another hash, and that is found out.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use ureq::http::{Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

use super::{Failure, File, Limits, Progress, length};

/// Brings `part` to its full length, as far as the source tells it.
pub(super) fn transfer(
    file: &File,
    url: &str,
    part: &Path,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Failure> {
    let agent = agent(url, limits);
    let mut have = length(part).map_err(Failure::Disk)?;
    if have >= limits.max_bytes {
        have = 0;
    }
    let mut response = request(&agent, url, have)?;
    if have > 0 && !continues(&response, have) && response.status() != StatusCode::OK {
        have = 0;
        response = request(&agent, url, 0)?;
    }
    match response.status() {
        StatusCode::OK => have = 0,
        StatusCode::PARTIAL_CONTENT if have > 0 && continues(&response, have) => {}
        status => return Err(Failure::Refused(format!("it answers with HTTP status {}", status.as_u16()))),
    }
    let total = response.body().content_length().and_then(|rest| rest.checked_add(have));
    let refuse_length = |bytes: u64| {
        let most = limits.max_bytes;
        Err(Failure::Refused(format!("it offers {bytes} bytes or more, the most that are taken are {most}")))
    };
    if let Some(total) = total.filter(|&total| total > limits.max_bytes) {
        return refuse_length(total);
    }
    // `set_len` instead of `truncate`: the one call serves both a part that goes on and one that starts over.
    let open = fs::File::options().create(true).append(true).open(part);
    let mut sink = open.and_then(|sink| sink.set_len(have).map(|()| sink)).map_err(Failure::Disk)?;
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        progress(Progress { file: &file.name, received: have, total });
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Err(Failure::Cut(format!("the connection broke after {have} bytes: {error}"))),
        };
        have += count as u64;
        if have > limits.max_bytes {
            sink.set_len(0).map_err(Failure::Disk)?;
            return refuse_length(have);
        }
        sink.write_all(&buffer[..count]).map_err(Failure::Disk)?;
    }
    match total {
        Some(total) if have < total => Err(Failure::Cut(format!("the connection ended after {have} of {total} bytes"))),
        _ => Ok(()),
    }
}

fn agent(url: &str, limits: &Limits) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("foldgrad/", env!("CARGO_PKG_VERSION")))
        // The hash is that of the packed file: nobody shall pack or unpack it on the way.
        .accept_encoding("identity")
        .timeout_resolve(Some(limits.resolve))
        .timeout_connect(Some(limits.connect))
        .timeout_recv_response(Some(limits.stall))
        .timeout_per_read(Some(limits.stall))
        .timeout_global(Some(limits.request));
    // A proxy from the environment would look for this machine's own servers on another machine.
    if is_loopback(url) {
        config = config.proxy(None);
    }
    config.build().new_agent()
}

fn is_loopback(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn request(agent: &Agent, url: &str, from: u64) -> Result<Response<Body>, Failure> {
    let mut request = agent.get(url);
    if from > 0 {
        request = request.header(header::RANGE, format!("bytes={from}-"));
    }
    request.call().map_err(|error| Failure::Refused(error.to_string()))
}

/// Whether the response is the file from byte `from` on: `Content-Range: bytes FROM-LAST/TOTAL`.
fn continues(response: &Response<Body>, from: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let first = range.and_then(|range| range.trim().strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    response.status() == StatusCode::PARTIAL_CONTENT && first == Some(from)
}
