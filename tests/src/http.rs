//! A small blocking HTTP/1.1 client over one kept-alive connection.
//!
//! Written out so that what goes over the wire is exactly what a test or bench says, and so that the
//! sender costs little beside the server it measures. Understands `Content-Length` and chunked bodies.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back: status, headers (names in lower case) and the whole body.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// The body, with any chunked framing taken off.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text, with replacement characters where it is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client of one server. The connection is opened on first use and again after it broke.
#[derive(Debug)]
pub struct Client {
    addr: SocketAddr,
    timeout: Duration,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client that gives up on a silent server after `timeout`.
    pub fn new(addr: SocketAddr, timeout: Duration) -> Self {
        Self { addr, timeout, stream: None }
    }

    /// `GET` of a path with its query string.
    ///
    /// # Errors
    /// When the connection fails or the answer is not HTTP.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], b"")
    }

    /// `POST` of a form; keys and values are percent-encoded here.
    ///
    /// # Errors
    /// When the connection fails or the answer is not HTTP.
    pub fn post_form(&mut self, path: &str, form: &[(&str, &str)]) -> io::Result<Response> {
        let body = encode_form(form);
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        self.request("POST", path, &headers, body.as_bytes())
    }

    /// One request and its whole answer. A kept-alive connection that the server closed meanwhile is
    /// opened again only when no byte of an answer has arrived and the request is a `GET`: anything else
    /// might be done twice.
    ///
    /// # Errors
    /// When the connection fails or the answer is not HTTP.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let reused = self.stream.is_some();
        let answer = self.attempt(method, path, headers, body);
        match answer {
            Err(_) if reused && method == "GET" => {
                self.stream = None;
                self.attempt(method, path, headers, body)
            }
            other => other,
        }
    }

    fn attempt(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        // Taken out first: a connection that fails midway must not be used again.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.addr, self.timeout)?,
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.addr);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        stream.get_mut().write_all(&request)?;
        let (response, keep) = read_response(&mut stream)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(response)
    }
}

fn connect(addr: SocketAddr, timeout: Duration) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&addr, timeout.min(Duration::from_secs(5)))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(BufReader::with_capacity(64 << 10, stream))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if stream.read_line(&mut text)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}

fn read_response(stream: &mut impl BufRead) -> io::Result<(Response, bool)> {
    let start = line(stream)?;
    let status = start.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| bad("no status line"))?;
    let mut headers = Vec::new();
    loop {
        let text = line(stream)?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: Vec::new() };
    let mut keep = !response.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    if response.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        read_chunks(stream, &mut response.body)?;
    } else if let Some(length) = response.header("content-length") {
        let length: usize = length.parse().map_err(|_| bad("a content length that is no number"))?;
        response.body.resize(length, 0);
        stream.read_exact(&mut response.body)?;
    } else if status != 204 && status != 304 {
        stream.read_to_end(&mut response.body)?;
        keep = false;
    }
    Ok((response, keep))
}

fn read_chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = line(stream)?;
        let digits = size.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).map_err(|_| bad("a chunk size that is no number"))?;
        let from = body.len();
        body.resize(from + size, 0);
        stream.read_exact(&mut body[from..])?;
        line(stream)?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// Keys and values as `application/x-www-form-urlencoded`; fits behind a `?` as well.
pub fn encode_form(form: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (key, value) in form {
        if !out.is_empty() {
            out.push('&');
        }
        percent_encode(key, &mut out);
        out.push('=');
        percent_encode(value, &mut out);
    }
    out
}

fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_answer_is_put_together() {
        let mut wire =
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nWiki\r\n3\r\nped\r\n0\r\n\r\n"[..];
        let (response, keep) = read_response(&mut wire).unwrap();
        assert_eq!((response.status, response.text().as_str(), keep), (200, "Wikiped", true));
    }

    #[test]
    fn a_form_is_percent_encoded() {
        assert_eq!(
            encode_form(&[("query", "up{a=~\"b+\"}"), ("t", "1.5")]),
            "query=up%7Ba%3D~%22b%2B%22%7D&t=1.5"
        );
    }
}
