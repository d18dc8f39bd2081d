//! As much of HTTP as Prometheus needs. Whoever can reach the port may ask, so nobody gets much: a few connections at a
//! time, each for a few seconds and a few kilobytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most connections at a time; others are closed.
const MAX_CLIENTS: usize = 4;
/// Longest request, in bytes.
const MAX_REQUEST: usize = 4096;
/// How long a client may take from its connection to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause after a connection that could not be taken.
const TICK: Duration = Duration::from_millis(100);

/// Listens at `address`.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// Answers for ever; `page` is none where it cannot be made now.
pub fn serve(listener: &TcpListener, page: impl Fn() -> Option<String> + Send + Sync + 'static) {
    serve_for(listener, PATIENCE, page);
}

fn serve_for(
    listener: &TcpListener,
    patience: Duration,
    page: impl Fn() -> Option<String> + Send + Sync + 'static,
) {
    // Each connection's thread holds one.
    let page = Arc::new(page);
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(e) => {
                log::warn!("metrics: a connection was not taken: {e}");
                std::thread::sleep(TICK);
                continue;
            }
        };
        if Arc::strong_count(&page) > MAX_CLIENTS {
            continue;
        }
        let page = page.clone();
        let thread = std::thread::Builder::new().name("metrics".into());
        let thread = thread.spawn(move || {
            let deadline = Instant::now() + patience;
            if let Err(e) = answer(&stream, deadline, &*page) {
                log::debug!("metrics: {e}");
            }
        });
        if let Err(e) = thread {
            log::warn!("metrics: no thread can be had: {e}");
            std::thread::sleep(TICK);
        }
    }
}

fn answer(
    stream: &TcpStream,
    deadline: Instant,
    page: &dyn Fn() -> Option<String>,
) -> io::Result<()> {
    let head = request(stream, deadline)?;
    let mut words = head.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let path = target.split('?').next();
    let (status, content, body) = match (method, path) {
        (Some("GET"), Some("/metrics")) => match page() {
            Some(page) => (
                "200 OK",
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                page,
            ),
            None => (
                "503 Service Unavailable",
                "text/plain",
                "the log of xl-gpud says why\n".into(),
            ),
        },
        (Some("GET"), _) => (
            "404 Not Found",
            "text/plain",
            "metrics are at /metrics\n".into(),
        ),
        _ => (
            "405 Method Not Allowed",
            "text/plain",
            "GET /metrics\n".into(),
        ),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    send(stream, deadline, head.as_bytes())?;
    send(stream, deadline, body.as_bytes())?;
    stream.shutdown(Shutdown::Write)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

/// The request's first line, once its head is complete.
fn request(mut stream: &TcpStream, deadline: Instant) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 512];
        stream.set_read_timeout(Some(left(deadline)?))?;
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&part[..count]);
        if head.len() > MAX_REQUEST {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

fn send(mut stream: &TcpStream, deadline: Instant, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(deadline)?))?;
        let count = stream.write(bytes)?;
        bytes = &bytes[count..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(patience: Duration, page: &'static str) -> SocketAddr {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            serve_for(&listener, patience, move || {
                (!page.is_empty()).then(|| page.to_owned())
            })
        });
        address
    }

    fn ask(address: SocketAddr, request: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    const GET: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

    #[test]
    fn the_page_is_at_its_path_and_nothing_else_is_anywhere() {
        let address = server(PATIENCE, "a 1\n");
        let answer = ask(address, GET).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("Content-Length: 4\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\na 1\n"), "{answer}");
        for (request, status) in [
            ("GET / HTTP/1.0\r\n\r\n", "404"),
            ("GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("\r\n\r\n", "405"),
            ("\u{fffd}\r\n\r\n", "405"),
        ] {
            let answer = ask(address, request).unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
        }
        let query = ask(address, "GET /metrics?x=1 HTTP/1.1\r\n\r\n").unwrap();
        assert!(query.starts_with("HTTP/1.1 200"), "{query}");
    }

    #[test]
    fn what_cannot_be_read_is_no_empty_page() {
        let answer = ask(server(PATIENCE, ""), GET).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }

    #[test]
    fn a_request_without_end_is_cut_off() {
        let address = server(Duration::from_secs(3600), "a 1\n");
        // Whether the answer is an end or a reset depends on what was still under way.
        let answer = ask(address, &"GET /".repeat(MAX_REQUEST)).unwrap_or_default();
        assert_eq!(answer, "");
    }

    #[test]
    fn those_who_say_nothing_keep_nobody_out_for_long() {
        let address = server(Duration::from_millis(200), "a 1\n");
        let silent: Vec<TcpStream> = (0..3 * MAX_CLIENTS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        // Each of them is closed, by its own patience or at once.
        for mut stream in &silent {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            assert_eq!(rest, b"");
        }
        // As soon as their threads are gone.
        while !ask(address, GET).unwrap_or_default().ends_with("a 1\n") {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn those_who_do_not_read_hold_few_threads() {
        // More than the kernel's buffers take.
        let long = "x".repeat(64 << 20);
        let address = server(Duration::from_secs(3600), String::leak(long));
        let held: Vec<TcpStream> = (0..MAX_CLIENTS)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(GET.as_bytes()).unwrap();
                // It is being answered.
                stream.read_exact(&mut [0; 1]).unwrap();
                stream
            })
            .collect();
        assert_eq!(ask(address, GET).unwrap_or_default(), "", "one too many");
        drop(held);
    }
}
