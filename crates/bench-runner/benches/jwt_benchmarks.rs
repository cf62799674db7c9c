//! Signing and verifying tokens: `cargo bench --bench jwt_benchmarks`.

use std::hint::black_box;

use bench_runner::jwt::usual_claims;
use bench_runner::token::{Algorithm, Signer};
use criterion::{Criterion, criterion_group, criterion_main};

fn tokens(criterion: &mut Criterion) {
    let claims = usual_claims();
    for algorithm in Algorithm::ALL {
        let mut group = criterion.benchmark_group(algorithm.as_str());
        let made = Signer::new(algorithm).and_then(|signer| signer.sign(&claims).map(|token| (signer, token)));
        let Ok((signer, token)) = made else {
            eprintln!("{} is left out: no key can be made for it (RS256 needs openssl)", algorithm.as_str());
            continue;
        };
        group.bench_function("sign", |bencher| bencher.iter(|| signer.sign(black_box(&claims))));
        group.bench_function("verify", |bencher| bencher.iter(|| signer.verify(black_box(&token), 0)));
        group.finish();
    }
}

criterion_group!(benches, tokens);
criterion_main!(benches);
