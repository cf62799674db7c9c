//! A repository in S3. The tool must have been built with its feature `s3`.

use testbed::{Output, S3Server, Site, run};

use super::retention::{segments, subjects, told};

/// Runs backup-tool with the repository in a bucket.
fn in_s3(site: &Site, s3: &S3Server, place: &str, args: &[&str]) -> Output {
    run(site.tool(args).args(["--repository", place, "-o", "ndjson"]).envs(s3.environment())).unwrap()
}

#[test]
fn a_cluster_is_backed_up_archived_expired_and_copied_in_s3_over_tls() {
    let s3 = S3Server::start_with_tls().unwrap();
    s3.make_bucket("backups").unwrap();
    let site = Site::start("").unwrap();
    // The copy is made where the site's own repository is.
    std::fs::remove_dir_all(site.repository()).unwrap();
    let place = "s3://backups/main";
    let ok = |args: &[&str]| {
        let output = in_s3(&site, &s3, place, args);
        assert_eq!(output.code, 0, "{args:?}: {output}");
        told(&output)
    };
    ok(&["init"]);
    let variables: Vec<_> = s3.environment().iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let program = site.tool(&[]).get_program().to_string_lossy().into_owned();
    let command = format!(
        "{} \"{program}\" --config \"{}\" --repository {place} wal-push %p",
        variables.join(" "),
        site.dir().join("maint.toml").display()
    );
    site.sql(&format!("ALTER SYSTEM SET archive_command = '{command}'")).unwrap();
    site.sql("SELECT pg_reload_conf()").unwrap();
    for _ in 0..2 {
        site.work(10).unwrap();
        ok(&["full-backup"]);
    }
    let labels = subjects(&ok(&["list"]));
    assert_eq!(labels.len(), 2);

    let second = site.repository().display().to_string();
    ok(&["copy", "--to", &second]);
    // Amazon's own client sees in the bucket what is in the copy.
    let keys = s3
        .client(
            "for page in s3.get_paginator('list_objects_v2').paginate(Bucket='backups', Prefix='main/wal/'):\n    \
             for object in page['Contents']:\n        print(object['Key'])",
        )
        .unwrap();
    let copied = segments(&site.repository());
    assert!(!copied.is_empty());
    for name in copied {
        assert!(keys.lines().any(|key| key.ends_with(&format!("/{name}.wal"))), "{name}: {keys}");
    }

    ok(&["expire", "--keep-full", "1", "--keep-days", "0", "--apply", "--yes"]);
    assert_eq!(subjects(&ok(&["list"])), labels[1..]);
    ok(&["prune", "--yes"]);
    // The copy has a life of its own, and opens without S3.
    let listed = run(site.tool(&["list", "-o", "ndjson"]).env_remove("AWS_ENDPOINT_URL")).unwrap();
    assert_eq!(subjects(&told(&listed)), labels, "{listed}");
}

#[test]
fn a_bucket_that_is_not_there_is_no_empty_repository() {
    let s3 = S3Server::start().unwrap();
    let site = Site::start("").unwrap();
    for args in [&["init"][..], &["list"]] {
        let output = in_s3(&site, &s3, "s3://nowhere/main", args);
        assert_eq!(output.code, 2, "{output}");
        assert!(output.stdout.contains("NoSuchBucket"), "{output}");
    }
}
