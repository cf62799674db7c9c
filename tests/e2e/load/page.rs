//! `--html`: the run as a page.

use std::fs;

use super::{Bed, ended};

#[test]
fn a_page_says_what_the_records_say_and_needs_nothing_beside_it() {
    let bed = Bed::new();
    let path = bed.state.path().join("run.html");
    let html = ["--html", path.to_str().unwrap()];
    let args: Vec<&str> = ["--rate", "400", "-d", "3s", "-c", "4"].iter().chain(&html).copied().collect();
    let (output, data) = bed.run(&args);
    ended(&output, &data, 0);
    let page = fs::read_to_string(&path).unwrap();
    assert!(page.contains("1200 of 1200 requests were answered well"), "{page}");
    assert_eq!(page.matches("<svg role=").count(), 3, "{page}");
    assert_eq!(page.matches("class=\"after\"").count(), 3, "one column a second: {page}");
    assert!(page.contains(&bed.url()) && page.ends_with("</html>\n"), "{page}");
    for outside in ["<script", "<link", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}: {page}");
    }
    // A broken limit is its headline; where no page can be, nothing is sent.
    let args: Vec<&str> =
        ["--rate", "50", "-d", "1s", "-c", "2", "--threshold", "p(50)<1us"].iter().chain(&html).copied().collect();
    let (output, data) = bed.run(&args);
    ended(&output, &data, 2);
    let page = fs::read_to_string(&path).unwrap();
    assert!(page.contains("Broken: p(50)&lt;1us") || page.contains("Nothing can be concluded"), "{page}");
    for nowhere in ["/nonexistent/run.html", "/"] {
        let output = testbed::run(bed.command(&["-d", "1s", "--html", nowhere]).arg(bed.url())).unwrap();
        assert!(output.code == 3 && output.stderr.contains(nowhere), "{output}");
    }
}
