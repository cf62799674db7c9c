//! Storage in S3 against a real server: what a repository relies on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use backup_tool::storage::s3::S3;
use backup_tool::storage::{Object, Put, Storage as _, StorageError};
use bytes::Bytes;
use testbed::S3Server;
use testbed::s3::PAGE;

/// One server for the tests that do it no harm.
static SERVER: LazyLock<S3Server> = LazyLock::new(|| S3Server::start().unwrap());

fn open_on(server: &S3Server, place: &str) -> S3 {
    let environment: Vec<_> = server.environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    S3::open_with(place, &environment).unwrap()
}

fn place(bucket: &str) -> S3 {
    SERVER.make_bucket(bucket).unwrap();
    open_on(&SERVER, &format!("s3://{bucket}/some/where"))
}

fn bytes(text: &'static str) -> [Bytes; 1] {
    [Bytes::from_static(text.as_bytes())]
}

#[test]
fn an_object_is_created_once_and_never_changed() {
    let s3 = place("created");
    let parts = [Bytes::from_static(b"o"), Bytes::new(), Bytes::from_static(b"ne")];
    assert_eq!(s3.put_new("a/b/c", &parts).unwrap(), Put::Created);
    assert_eq!(s3.put_new("a/b/c", &bytes("two")).unwrap(), Put::Exists);
    assert_eq!(&s3.get("a/b/c").unwrap()[..], b"one");
    assert_eq!(s3.list("").unwrap(), [Object { key: "a/b/c".into(), size: 3 }]);
    assert_eq!(s3.put_new("empty", &[]).unwrap(), Put::Created);
    assert_eq!(s3.size("empty").unwrap(), Some(0));
    let seen = SERVER.client("print(s3.get_object(Bucket='created', Key='some/where/a/b/c')['Body'].read().decode())");
    assert_eq!(seen.unwrap(), "one");
}

#[test]
fn of_many_that_create_the_same_key_exactly_one_does() {
    let s3 = place("race");
    let created = thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| s3.put_new("x/y", &bytes("same")).unwrap())).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|put| *put == Put::Created).count()
    });
    assert_eq!(created, 1);
}

#[test]
fn a_listing_has_every_page_and_nothing_beside_the_prefix() {
    let s3 = place("pages");
    let count = 3 * PAGE + 1;
    for number in 0..count {
        s3.put_new(&format!("data/{number:02}"), &bytes("x")).unwrap();
    }
    s3.put_new("database", &bytes("x")).unwrap();
    let keys: Vec<_> = s3.list("data").unwrap().into_iter().map(|object| object.key).collect();
    let wanted: Vec<_> = (0..count).map(|number| format!("data/{number:02}")).collect();
    assert_eq!(keys, wanted);
    assert_eq!(s3.list("").unwrap().len(), count + 1);
    assert_eq!(s3.list("nothing").unwrap(), []);
}

#[test]
fn a_range_is_whole_or_an_error() {
    let s3 = place("ranges");
    s3.put_new("a", &bytes("abc")).unwrap();
    assert_eq!(&s3.get_range("a", 1, 2).unwrap()[..], b"bc");
    assert_eq!(s3.get_range("a", 3, 0).unwrap(), Bytes::new());
    for (offset, length) in [(1, 3), (3, 1), (9, 1), (0, 4), (4, 0)] {
        let read = s3.get_range("a", offset, length);
        assert!(matches!(read, Err(StorageError::Short { .. })), "{offset} {length} {read:?}");
    }
    assert!(s3.get_range("b", 0, 1).unwrap_err().is_not_found());
    assert!(s3.get_range("b", 0, 0).unwrap_err().is_not_found());
}

#[test]
fn what_is_not_there_is_told_from_what_cannot_be_known() {
    let s3 = place("absent");
    assert!(s3.get("a").unwrap_err().is_not_found());
    assert_eq!(s3.size("a").unwrap(), None);
    assert!(s3.remove("a").unwrap_err().is_not_found());
    s3.put_new("a", &bytes("x")).unwrap();
    s3.remove("a").unwrap();
    assert_eq!(s3.size("a").unwrap(), None);
    // No bucket is no empty repository.
    let nowhere = open_on(&SERVER, "s3://nowhere/some/where");
    for error in [
        nowhere.list("").unwrap_err(),
        nowhere.get("a").unwrap_err(),
        nowhere.get_range("a", 0, 1).unwrap_err(),
        nowhere.size("a").unwrap_err(),
        nowhere.remove("a").unwrap_err(),
        nowhere.put_new("a", &bytes("x")).unwrap_err(),
    ] {
        assert!(matches!(error, StorageError::Io { .. }) && error.to_string().contains("NoSuchBucket"), "{error}");
    }
}

#[test]
fn a_key_cannot_lead_outside() {
    let s3 = place("keys");
    for key in ["", "/", "../x", "a/../../x", "a//b", ".hidden", "a b", "a/"] {
        assert!(matches!(s3.put_new(key, &bytes("x")), Err(StorageError::BadKey(_))), "{key}");
    }
    assert!(S3::open_with("s3://", &[]).is_err());
    assert!(S3::open_with("s3://bucket/../other", &[]).is_err());
}

#[test]
fn it_works_inside_of_a_runtime_and_from_many_threads() {
    let s3 = place("threads");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert_eq!(s3.put_new("a", &bytes("x")).unwrap(), Put::Created);
        // A second one is dropped inside.
        assert_eq!(&open_on(&SERVER, "s3://threads/some/where").get("a").unwrap()[..], b"x");
    });
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(&s3.get("a").unwrap()[..], b"x"));
        }
    });
}

#[test]
fn a_server_that_pauses_is_waited_for_and_one_that_is_gone_is_an_error() {
    let server = S3Server::start().unwrap();
    server.make_bucket("one").unwrap();
    let s3 = open_on(&server, "s3://one/");
    s3.put_new("a", &bytes("x")).unwrap();
    server.freeze().unwrap();
    thread::scope(|scope| {
        let list = scope.spawn(|| s3.list(""));
        thread::sleep(Duration::from_millis(300));
        server.thaw();
        assert_eq!(list.join().unwrap().unwrap().len(), 1);
    });
    server.kill().unwrap();
    let error = s3.list("").unwrap_err();
    assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
    assert!(matches!(s3.get("a"), Err(StorageError::Io { .. })));
    assert!(matches!(s3.put_new("b", &bytes("x")), Err(StorageError::Io { .. })));
    assert!(matches!(s3.size("a"), Err(StorageError::Io { .. })));
}

/// A line to the server on which things go wrong: what is said to the server passes through `say`, which may set the flag
/// that ends the connection in the place of the next answer.
fn bad_line(server: &S3Server, say: fn(&mut Vec<u8>, &AtomicBool)) -> Vec<(String, String)> {
    let environment = server.environment();
    let upstream = environment.iter().find(|(name, _)| *name == "AWS_ENDPOINT_URL").unwrap().1.replace("http://", "");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&upstream).unwrap();
            let cut = Arc::new(AtomicBool::new(false));
            let (client_in, server_in, cut_in) =
                (client.try_clone().unwrap(), server.try_clone().unwrap(), Arc::clone(&cut));
            thread::spawn(move || pass(client_in, server_in, |said| say(said, &cut_in)));
            thread::spawn(move || {
                pass(server, client, |answer| {
                    if cut.load(Ordering::SeqCst) {
                        answer.clear();
                    }
                });
            });
        }
    });
    let other = |(name, value)| (String::from(name), if name == "AWS_ENDPOINT_URL" { url.clone() } else { value });
    environment.into_iter().map(other).collect()
}

/// Until either end closes, or nothing is left of what is to be passed on.
fn pass(mut from: TcpStream, mut to: TcpStream, change: impl Fn(&mut Vec<u8>)) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let mut chunk = buffer[..length].to_vec();
        change(&mut chunk);
        if chunk.is_empty() || to.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn a_write_whose_answer_is_lost_is_known_to_be_ours() {
    SERVER.make_bucket("lost").unwrap();
    let environment = bad_line(&SERVER, |said, cut| {
        static ONCE: AtomicBool = AtomicBool::new(true);
        if said.starts_with(b"PUT /lost/object") && ONCE.swap(false, Ordering::SeqCst) {
            cut.store(true, Ordering::SeqCst);
        }
    });
    let s3 = S3::open_with("s3://lost", &environment).unwrap();
    assert_eq!(s3.put_new("object", &bytes("mine")).unwrap(), Put::Created);
    assert_eq!(s3.put_new("object", &bytes("mine")).unwrap(), Put::Exists);
}

#[test]
fn a_server_that_overlooks_the_condition_is_not_written_to() {
    SERVER.make_bucket("careless").unwrap();
    let environment = bad_line(&SERVER, |said, _| {
        let name = b"if-none-match:";
        if let Some(at) = said.windows(name.len()).position(|window| window == name) {
            said[at..at + 2].copy_from_slice(b"x-");
        }
    });
    let s3 = S3::open_with("s3://careless", &environment).unwrap();
    for _ in 0..2 {
        let error = s3.put_new("object", &bytes("x")).unwrap_err();
        assert!(error.to_string().contains("If-None-Match"), "{error}");
    }
    assert_eq!(s3.size("object").unwrap(), None);
}
