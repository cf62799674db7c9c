//! Nobody notices: not those who connect, not those who read the files.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::fixture::{Bench, Client, Nginx, is_pair, owned, postgres, postgres_consumer};

const ROTATIONS: u64 = 50;
const HANDSHAKES: u64 = 10_000;
const READS: u64 = 100_000;

#[test]
fn fifty_rotations_under_ten_thousand_handshakes_and_a_hundred_thousand_reads() {
    let mut bench = Bench::with_one_of(owned());
    let nginx = Nginx::on(&bench);
    let database = postgres(&bench.live("fullchain.pem"), &bench.live("privkey.pem"));
    bench.consumers(&[nginx.by_pid_file(), postgres_consumer(&database)]);
    let (done, handshakes, reads) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let client = Client::of(&bench);
    let rotations = AtomicU64::new(0);
    // Spread over the rotations, as two processors are shared with what is tested.
    let going = |count: &AtomicU64, enough: u64| {
        let is_ahead = || count.load(Ordering::Relaxed) > (rotations.load(Ordering::Relaxed) + 2) * enough / ROTATIONS;
        while !done.load(Ordering::Relaxed) && is_ahead() {
            sleep(Duration::from_millis(2));
        }
        !done.load(Ordering::Relaxed) || count.load(Ordering::Relaxed) < enough
    };
    let connect = |port: u16, starttls: bool| {
        let mut failed = Vec::new();
        while going(&handshakes, HANDSHAKES) && failed.len() < 10 {
            match client.handshake(port, starttls) {
                Ok(_) => drop(handshakes.fetch_add(1, Ordering::Relaxed)),
                Err(error) => failed.push(error),
            }
        }
        failed
    };
    let live = bench.live("");
    std::thread::scope(|scope| {
        let web = scope.spawn(|| connect(nginx.port, false));
        let sql = scope.spawn(|| connect(database.port(), true));
        let reader = scope.spawn(|| {
            let mut mismatches = 0;
            while going(&reads, READS) {
                mismatches += u64::from(!is_pair(&live));
                reads.fetch_add(1, Ordering::Relaxed);
            }
            mismatches
        });
        // Whatever happens here, the others must end.
        let rotated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for rotation in 0..ROTATIONS {
                bench.issue(&[]);
                let output = bench.rotate(&[]);
                assert_eq!(output.code, 0, "rotation {rotation}: {output}");
                rotations.fetch_add(1, Ordering::Relaxed);
            }
        }));
        done.store(true, Ordering::Relaxed);
        assert_eq!(web.join().unwrap(), Vec::<String>::new());
        assert_eq!(sql.join().unwrap(), Vec::<String>::new());
        assert_eq!(reader.join().unwrap(), 0, "mismatched pairs");
        assert!(rotated.is_ok());
    });
    println!("{} handshakes, {} reads", handshakes.into_inner(), reads.into_inner());
    assert_eq!(bench.generation(), Some(ROTATIONS + 1));
}
