//! Promises of the whole page.

use super::*;

fn about() -> About {
    About { servers: vec!["10.0.0.5:6379".to_owned()], generated: "2024-06-04T06:00:00Z".parse().unwrap() }
}

fn page(records: &[Record]) -> String {
    render(&about(), records)
}

fn metric(section: &str, subject: &str) -> Record {
    Record::new(Kind::Metric, subject, Status::Ok, "").label("section", section)
}

fn good_check() -> Record {
    Record::new(Kind::Check, "memory", Status::Ok, "fine").field("used_ratio", 0.5).limits("used_ratio", "0.8", "0.9")
}

#[test]
fn no_text_of_a_record_becomes_markup() {
    let hostile = "<script>\"'&\u{0}\u{202e}";
    let mut records = vec![good_check(), Record::new(Kind::Finding, hostile, Status::Warning, hostile)];
    for section in ["check", "total", "type", "encoding", "group", "key", "ttl", "finding", "walk", hostile] {
        for status in [Status::Ok, Status::Denied] {
            let record = metric(section, hostile).field("memory_bytes", 7).field("biggest_key", hostile);
            let record = record.field(hostile, hostile).field("advice", hostile).label("node", hostile);
            records.push(Record { status, message: hostile.to_owned(), ..record.limits(hostile, hostile, hostile) });
        }
    }
    let html = render(&About { servers: vec![hostile.to_owned()], ..about() }, &records);
    assert!(!html.to_lowercase().contains("<script") && !html.contains('\0') && !html.contains('\u{202e}'), "{html}");
    assert!(html.contains("&lt;script&gt;&quot;&#39;&amp;\\u{0}\\u{202e}"));
}

#[test]
fn no_records_is_nothing_looked_at_and_never_green() {
    let html = page(&[]);
    assert!(html.contains("Nothing was looked at") && !html.contains("All is well") && !html.contains("verdict fine"));
}

#[test]
fn measurements_alone_are_not_called_well() {
    let html = page(&[metric("total", "10.0.0.5:6379").field("keys", 7)]);
    assert!(html.contains("nothing was checked") && !html.contains("verdict fine"), "{html}");
    assert!(page(&[good_check()]).contains("verdict fine"));
}

#[test]
fn a_section_nobody_foresaw_is_on_the_page() {
    let html = page(&[good_check(), metric("slow_log", "KEYS *").field("took_seconds", 1.5).field("odd", [1, 2])]);
    assert!(html.contains("<h2>Slow log</h2>") && html.contains("KEYS *") && html.contains("1.5 s"), "{html}");
    assert!(html.contains("[1,2]"), "{html}");
}

#[test]
fn what_was_denied_shows_in_the_verdict_in_the_attention_and_at_the_end() {
    let denied = Record::new(Kind::Check, "latency", Status::Denied, "no permission for LATENCY; grant +latency");
    let html = page(&[good_check(), denied]);
    assert!(html.contains("verdict unsure") && html.contains("Not everything could be looked at"), "{html}");
    assert!(html.contains("1 thing was not looked at"), "{html}");
    assert!(html.matches("no permission for LATENCY").count() >= 3, "{html}");
    let skipped = metric("walk", "10.0.0.5:6379").field("skipped_keys", 12);
    assert!(page(&[good_check(), skipped]).contains("Not all of 10.0.0.5:6379 was seen: skipped keys 12."));
}

#[test]
fn attention_stands_worst_first_whatever_its_section() {
    let record = |status, subject| Record { status, ..metric("group", subject) };
    let html = page(&[
        good_check(),
        record(Status::Warning, "first"),
        record(Status::Failed, "second"),
        record(Status::Denied, "third"),
    ]);
    let list = html.split("</ul>").next().unwrap();
    let places: Vec<_> =
        ["second", "third", "first"].iter().map(|name| list.find(&format!(">{name}<")).unwrap()).collect();
    assert!(places.is_sorted(), "{list}");
}

#[test]
fn a_long_key_is_cut_in_its_middle_and_whole_in_its_title() {
    let key = format!("session:{}:end", "x".repeat(500));
    let html = page(&[metric("key", &key).field("memory_bytes", 4096)]);
    assert!(html.contains(&format!("title=\"{key}\"")) && html.contains("…") && html.contains("4.0 KiB"), "{html}");
    assert_eq!(html.matches(&key).count(), 1);
}

#[test]
fn the_same_records_give_the_same_page() {
    let records: Vec<Record> =
        (0..50).map(|n| metric("group", &format!("g{n}")).field("memory_bytes", n % 3).field("keys", n)).collect();
    assert_eq!(page(&records), page(&records));
    let mut reversed = records.clone();
    reversed.reverse();
    assert_eq!(page(&records), page(&reversed), "groups stand by size and name");
}

#[test]
fn values_stand_beside_their_limits() {
    let html = page(&[good_check()]);
    assert!(html.contains("50.0 %") && html.contains("warning above 80.0 %, critical above 90.0 %"), "{html}");
}

#[test]
fn the_page_needs_nothing_else() {
    let html =
        page(&[good_check(), metric("ttl", "none").field("keys", 3), metric("type", "hash").field("memory_bytes", 3)]);
    for foreign in ["<script", "<link", "<img", "src=", "href=", "http:", "https:", "url("] {
        assert!(!html.contains(foreign), "{foreign}");
    }
}
