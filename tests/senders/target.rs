//! A scrape target in OpenMetrics text: a counter with an exemplar that changes with each scrape, a classic
//! histogram, a gauge, and what is to be known about them.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Serves it from now on, for as long as the process lives; the address.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let scrapes = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let scrapes = Arc::clone(&scrapes);
            // A scraper that goes away in the middle is its own affair.
            thread::spawn(move || serve(&stream, &scrapes).ok());
        }
    });
    address
}

fn serve(stream: &TcpStream, scrapes: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            let body = page(scrapes.fetch_add(1, Ordering::Relaxed) + 1);
            let mut writer = stream;
            write!(
                writer,
                "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            )?;
        }
        line.clear();
    }
    Ok(())
}

fn page(n: u64) -> String {
    format!(
        "# HELP shop_orders Orders taken.\n# TYPE shop_orders counter\n\
         shop_orders_total{{shop=\"a\"}} {n} # {{trace_id=\"{n:032x}\"}} {n}\n\
         # HELP shop_open Whether it is open.\n# TYPE shop_open gauge\nshop_open {}\n\
         # HELP shop_wait_seconds Time waited.\n# TYPE shop_wait_seconds histogram\n# UNIT shop_wait_seconds seconds\n\
         shop_wait_seconds_bucket{{le=\"1.0\"}} {n}\nshop_wait_seconds_bucket{{le=\"+Inf\"}} {}\n\
         shop_wait_seconds_count {}\nshop_wait_seconds_sum {n}.5\n# EOF\n",
        n % 2,
        2 * n,
        2 * n
    )
}
