//! A repository in S3. The tool must have been built with its feature `s3`.

use testbed::S3Server;

use super::place::{Site, subjects};

#[test]
fn a_cluster_is_backed_up_archived_expired_and_copied_in_s3_over_tls() {
    let s3 = S3Server::start_with_tls().unwrap();
    s3.make_bucket("backups").unwrap();
    let site = Site::with_repository("s3://backups/main", s3.environment());
    site.ok(&["init"]);
    site.archive();
    for _ in 0..2 {
        site.ok(&["full-backup"]);
    }
    let labels = site.labels();
    assert_eq!(labels.len(), 2);
    let second = site.path("repository").display().to_string();
    site.ok(&["copy", "--to", &second]);
    let keys = s3
        .client(
            "for page in s3.get_paginator('list_objects_v2').paginate(Bucket='backups', Prefix='main/wal/'):\n    \
             for object in page['Contents']:\n        print(object['Key'])",
        )
        .unwrap();
    let mut archived: Vec<&str> = keys
        .lines()
        .filter_map(|key| key.rsplit('/').next()?.strip_suffix(".wal"))
        .filter(|name| name.len() == 24)
        .collect();
    archived.sort_unstable();
    let copied = site.segments("repository");
    assert!(copied.iter().all(|name| archived.contains(&name.as_str())) && !copied.is_empty(), "{keys}");

    site.ok(&["expire", "--keep-full", "1", "--keep-days", "0", "--apply", "--yes"]);
    assert_eq!(site.labels(), labels[1..]);
    site.ok(&["prune", "--yes"]);
    // The copy has a life of its own, and everything that was in it opens without S3.
    assert_eq!(subjects(&site.ok(&["list", "--repository", &second])), labels);
}

#[test]
fn a_bucket_that_is_not_there_is_no_empty_repository() {
    let s3 = S3Server::start().unwrap();
    let site = Site::with_repository("s3://nowhere/main", s3.environment());
    for args in [&["init"][..], &["list"]] {
        let output = site.run(args);
        assert_eq!(output.code, 2, "{output}");
        assert!(output.stdout.contains("NoSuchBucket"), "{output}");
    }
}
