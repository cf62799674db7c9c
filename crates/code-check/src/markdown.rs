//! What a Markdown page links to, what can be linked to in it, and what it shows.
//!
//! Headings have the anchors that GitHub and its likes give them: the text in lower case, without punctuation, spaces as
//! `-`, and a number when it was there before.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{BrokenLink, CodeBlockKind, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd};

/// A page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Where it leads to.
    pub links: Vec<Link>,
    /// References such as `[text][name]` whose name is not defined.
    pub undefined: Vec<Link>,
    /// What a `#fragment` can name.
    pub anchors: BTreeSet<String>,
    /// Its fenced blocks of code.
    pub blocks: Vec<Block>,
}

/// A link or an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Where it stands, from 1.
    pub line: usize,
    /// Where it leads to, as it is written; for an undefined reference its name.
    pub target: String,
}

/// A fenced block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line of its first line of code, from 1.
    pub line: usize,
    /// The words after the fence: the language first.
    pub info: Vec<String>,
    /// The code.
    pub text: String,
}

impl Page {
    /// Reads a page.
    pub fn read(text: &str) -> Self {
        let starts: Vec<usize> =
            std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1)).collect();
        let line_of = |offset: usize| starts.partition_point(|start| *start <= offset);
        let mut page = Page::default();
        let mut undefined = Vec::new();
        let mut on_broken = |link: BrokenLink<'_>| -> Option<(CowStr<'_>, CowStr<'_>)> {
            // A word in brackets alone is as a rule just that.
            if matches!(link.link_type, LinkType::Reference | LinkType::Collapsed) {
                undefined.push(Link { line: line_of(link.span.start), target: link.reference.to_string() });
            }
            None
        };
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS;
        let parser = Parser::new_with_broken_link_callback(text, options, Some(&mut on_broken));
        let mut heading: Option<String> = None;
        let mut block: Option<Block> = None;
        let mut slugs = BTreeMap::new();
        for (event, range) in parser.into_offset_iter() {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.anchors.extend(heading.take().map(|text| anchor(&text, &mut slugs)));
                }
                Event::Start(Tag::Link { dest_url, link_type, .. }) if link_type != LinkType::Email => {
                    page.links.push(Link { line: line_of(range.start), target: dest_url.to_string() });
                }
                Event::Start(Tag::Image { dest_url, .. }) => {
                    page.links.push(Link { line: line_of(range.start), target: dest_url.to_string() });
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    let info =
                        info.split([' ', ',', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
                    block = Some(Block { line: line_of(range.start) + 1, info, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                    if let Some(block) = &mut block {
                        block.text.push_str(&text);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => page.html(&html, line_of(range.start)),
                _ => {}
            }
        }
        undefined.sort();
        undefined.dedup();
        page.undefined = undefined;
        page
    }

    fn html(&mut self, html: &str, line: usize) {
        if html.trim_start().starts_with("<!--") {
            return;
        }
        for (name, value) in attributes(html) {
            match name {
                "id" | "name" => drop(self.anchors.insert(value.to_owned())),
                "href" | "src" => self.links.push(Link { line, target: value.to_owned() }),
                _ => {}
            }
        }
    }
}

/// The attributes of a piece of HTML that have a value in quotes.
fn attributes(html: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('=') {
        let name = before.rsplit(|c: char| c.is_whitespace() || c == '<').next().unwrap_or_default();
        rest = after;
        for quote in ['"', '\''] {
            if let Some((value, after)) = rest.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
                found.push((name, value));
                rest = after;
            }
        }
    }
    found
}

fn anchor(heading: &str, seen: &mut BTreeMap<String, usize>) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let slug: String =
        heading.trim().to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect();
    let before = seen.entry(slug.clone()).or_default();
    let name = if *before == 0 { slug } else { format!("{slug}-{before}") };
    *before += 1;
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(links: &[Link]) -> Vec<(usize, &str)> {
        links.iter().map(|link| (link.line, link.target.as_str())).collect()
    }

    #[test]
    fn links_are_found_in_all_their_forms_and_not_in_code() {
        let page = Page::read(
            "# T\n[a](x.md) and ![i](p.png)\n\n[b][r], <https://e.org>\n\n    [no](code.md)\n\n`[no](code.md)`\n\n\
             <a href=\"h.md\" id='own'>x</a>\n\n<!-- <a href=\"no.md\"> -->\n\n[r]: y.md#z\n",
        );
        assert_eq!(
            targets(&page.links),
            [(2, "x.md"), (2, "p.png"), (4, "y.md#z"), (4, "https://e.org"), (10, "h.md")]
        );
        assert!(page.anchors.contains("own"));
    }

    #[test]
    fn a_reference_without_a_definition_is_found_and_a_word_in_brackets_is_not_one() {
        let page = Page::read("text [a][gone]\nand [b][]\nand [c]\n- [ ] d\n");
        assert_eq!(targets(&page.undefined), [(1, "gone"), (2, "b")]);
        assert!(page.links.is_empty());
    }

    #[test]
    fn headings_have_the_anchors_that_they_get() {
        let page = Page::read("# What's `new`?\n## A, B & C\n## Same\n## Same\n## Ümlaut_x\n");
        let anchors: Vec<&str> = page.anchors.iter().map(String::as_str).collect();
        assert_eq!(anchors, ["a-b--c", "same", "same-1", "whats-new", "ümlaut_x"]);
    }

    #[test]
    fn a_block_has_its_line_its_words_and_its_text() {
        let page = Page::read("x\n\n```sh run\n$ a\nb\n```\n\n    indented\n");
        assert_eq!(page.blocks, [Block { line: 4, info: vec!["sh".into(), "run".into()], text: "$ a\nb\n".into() }]);
    }

    #[test]
    fn nothing_in_a_page_makes_it_fail() {
        for text in [
            "",
            "[",
            "](",
            "```",
            "# ",
            "<a href=",
            "<a href=\"",
            "[a]: <",
            &"[".repeat(5_000),
            &"> ".repeat(5_000),
            &"* ".repeat(2_000),
        ] {
            Page::read(text);
        }
    }
}
