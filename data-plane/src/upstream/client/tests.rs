//! A provider that says exactly what it is told to, on real sockets.

use super::*;
use http_body_util::BodyExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PLAIN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// How a provider answers on each of its connections.
#[derive(Clone, Copy)]
enum Manner {
    /// Every request, until the client leaves.
    Stay(&'static str),
    /// One request, then it closes.
    Once(&'static str),
    /// Before it has read the body, which it never does.
    Early(&'static str),
}

struct Provider {
    url: String,
    connections: Arc<AtomicUsize>,
    /// Connections whose client has left.
    left: Arc<AtomicUsize>,
}

async fn provider(manner: Manner) -> Provider {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/x", listener.local_addr().unwrap());
    let (connections, left) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&connections), Arc::clone(&left));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counts.0.fetch_add(1, Ordering::SeqCst);
            let left = Arc::clone(&counts.1);
            tokio::spawn(async move {
                if serve(stream, manner).await.is_ok() {
                    left.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    Provider {
        url,
        connections,
        left,
    }
}

/// Ends well when the client has left.
async fn serve(mut stream: TcpStream, manner: Manner) -> io::Result<()> {
    let mut seen = Vec::new();
    loop {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&bytes[..count]);
        let answer = match manner {
            Manner::Early(answer) => answer,
            // The bodies of these tests end so.
            _ if !seen.ends_with(b"}") => continue,
            Manner::Stay(answer) | Manner::Once(answer) => answer,
        };
        seen.clear();
        stream.write_all(answer.as_bytes()).await?;
        if !matches!(manner, Manner::Stay(_)) {
            stream.shutdown().await?;
            return Err(io::ErrorKind::Other.into());
        }
    }
}

fn clients() -> Clients {
    Clients::new(Duration::from_secs(5)).unwrap()
}

async fn ask(clients: &Clients, url: &str, body: &'static [u8]) -> Result<Answer, Error> {
    let mut request = Request::new(Bytes::from_static(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = url.parse().unwrap();
    clients.send(request, true, || ()).await
}

async fn text(answer: Answer) -> io::Result<Bytes> {
    Ok(answer.into_body().collect().await?.to_bytes())
}

async fn eventually(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    for answer in [
        PLAIN,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let provider = provider(Manner::Stay(answer)).await;
        let clients = clients();
        for _ in 0..3 {
            let answer = ask(&clients, &provider.url, b"{}").await.unwrap();
            assert_eq!(text(answer).await.unwrap(), "ok");
        }
        assert_eq!(provider.connections.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_connection_that_ended_is_not_used_again() {
    let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let endless = "HTTP/1.1 200 OK\r\n\r\nok";
    let talkative = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more";
    for manner in [
        Manner::Once(PLAIN),
        Manner::Once(endless),
        Manner::Stay(closing),
        Manner::Stay(talkative),
    ] {
        let provider = provider(manner).await;
        let clients = clients();
        for round in 1..=3 {
            let answer = ask(&clients, &provider.url, b"{}").await.unwrap();
            assert_eq!(text(answer).await.unwrap(), "ok");
            // The end of the one before must have arrived.
            if let Manner::Once(_) = manner {
                eventually(|| {
                    clients.private.pool.sweep();
                    clients.private.pool.is_empty()
                })
                .await;
            }
            assert_eq!(provider.connections.load(Ordering::SeqCst), round);
        }
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_body_was_taken() {
    static LARGE: [u8; 8 << 20] = [b' '; 8 << 20];
    let answer = "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
    let provider = provider(Manner::Early(answer)).await;
    let clients = clients();
    let answer = ask(&clients, &provider.url, &LARGE).await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(text(answer).await.unwrap(), "no");
    assert!(clients.private.pool.is_empty());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    for (answer, headed) in [
        ("", false),
        ("HTTP/1.1 200 OK\r\ncontent-le", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok no",
            true,
        ),
    ] {
        let provider = provider(Manner::Once(answer)).await;
        let clients = clients();
        let asked = ask(&clients, &provider.url, b"{}").await;
        assert_eq!(asked.is_ok(), headed, "{answer}");
        match asked {
            Ok(answer) => assert!(text(answer).await.is_err()),
            Err(error) => assert!(matches!(error, Error::Broken(_))),
        }
    }
}

#[tokio::test]
async fn whoever_leaves_closes_the_connection() {
    let begun = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
    for answer in [begun, ""] {
        let provider = provider(Manner::Stay(answer)).await;
        let clients = clients();
        let asking = ask(&clients, &provider.url, b"{}");
        let within = Duration::from_millis(if answer.is_empty() { 50 } else { 10_000 });
        let asked = tokio::time::timeout(within, asking).await;
        assert_eq!(asked.is_err(), answer.is_empty());
        drop(asked);
        eventually(|| provider.left.load(Ordering::SeqCst) == 1).await;
    }
}

#[tokio::test]
async fn nobody_is_told_of_a_connection_that_there_is_none_of() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let connected = AtomicBool::new(false);
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url.parse().unwrap();
    let told = || connected.store(true, Ordering::SeqCst);
    let asked = clients().send(request, true, told).await;
    assert!(matches!(asked, Err(Error::Unconnected(_))));
    assert!(!connected.load(Ordering::SeqCst));
}
