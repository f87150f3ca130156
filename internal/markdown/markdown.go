// Package markdown reads the parts of the documentation that tests check: code, commands, links and the
// anchors that links lead to.
package markdown

import (
	"regexp"
	"strings"
	"unicode"
)

// Page is one document.
type Page struct {
	Blocks  []Code          // code set apart, fenced or indented
	Spans   []Code          // code within a sentence
	Links   []Link          // links and pictures
	Anchors map[string]bool // the headings, as GitHub names them
}

// Code is a piece of code. Info says what follows the fence, such as "go"; it is empty for an indented block and
// for code within a sentence. Line is where the text begins.
type Code struct {
	Info string
	Text string
	Line int
}

// Link is where a link leads.
type Link struct {
	Target string
	Line   int
}

var (
	span    = regexp.MustCompile("`([^`]+)`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`^#+ (.+)$`)
)

// Parse reads a page.
func Parse(text string) *Page {
	page := &Page{Anchors: map[string]bool{}}
	prose := page.readBlocks(strings.Split(text, "\n"))
	for _, line := range prose {
		if found := heading.FindStringSubmatch(line); found != nil {
			page.Anchors[anchor(found[1])] = true
		}
	}
	// A span may go on in the next line, but not in the next paragraph.
	paragraph, first := "", 0
	for i, line := range append(prose, "") {
		if strings.TrimSpace(line) != "" {
			paragraph += line + "\n"

			continue
		}
		page.readParagraph(paragraph, first+1)
		paragraph, first = "", i+1
	}

	return page
}

// readBlocks takes the blocks out of the lines and leaves empty ones.
func (p *Page) readBlocks(lines []string) []string {
	prose := make([]string, len(lines))
	open := -1 // The block that goes on, -1 for none.
	fenced := false
	for i, line := range lines {
		fence, isFence := strings.CutPrefix(line, "```")
		indented, isIndented := strings.CutPrefix(line, "    ")
		switch {
		case isFence && fenced:
			open, fenced = -1, false
		case isFence:
			p.Blocks = append(p.Blocks, Code{Info: strings.TrimSpace(fence), Line: i + 2})
			open, fenced = len(p.Blocks)-1, true
		case fenced:
			p.Blocks[open].Text += line + "\n"
		case isIndented && (open >= 0 || i == 0 || lines[i-1] == ""):
			if open < 0 {
				p.Blocks = append(p.Blocks, Code{Line: i + 1})
				open = len(p.Blocks) - 1
			}
			p.Blocks[open].Text += indented + "\n"
		default:
			open, prose[i] = -1, line
		}
	}

	return prose
}

// readParagraph reads the spans and links of a paragraph that begins in a line.
func (p *Page) readParagraph(text string, line int) {
	at := func(position int) int { return line + strings.Count(text[:position], "\n") }
	for _, found := range span.FindAllStringSubmatchIndex(text, -1) {
		code := strings.ReplaceAll(text[found[2]:found[3]], "\n", " ")
		p.Spans = append(p.Spans, Code{Text: code, Line: at(found[2])})
	}
	for _, found := range link.FindAllStringSubmatchIndex(text, -1) {
		p.Links = append(p.Links, Link{Target: text[found[2]:found[3]], Line: at(found[2])})
	}
}

// anchor is GitHub's name for a heading.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, heading)
}
