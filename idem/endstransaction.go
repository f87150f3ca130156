package idem

import "strings"

// endsTransaction reports whether one of the statements of sql would end the transaction. It looks at
// the first words of each, and knows PostgreSQL's comments, strings and quoted names.
func endsTransaction(sql string) bool {
	var words []string // the first of the statement
	for i := 0; i < len(sql); {
		rest := sql[i:]
		switch c := sql[i]; {
		case c == ';':
			words = nil
			i++
		case c == ' ' || c >= '\t' && c <= '\r':
			i++
		case strings.HasPrefix(rest, "--"):
			i += lineEnd(rest)
		case strings.HasPrefix(rest, "/*"):
			i += commentEnd(rest)
		case isWordByte(c):
			n := wordEnd(rest)
			if len(words) < 3 {
				words = append(words, strings.ToUpper(rest[:n]))
				if isEnd(words, nextIs(sql[i+n:], ';')) {
					return true
				}
			}
			if i += n; i < len(sql) && sql[i] == '\'' && strings.EqualFold(rest[:n], "E") {
				i += stringEnd(sql[i:], true)
			}
		default:
			if len(words) == 0 {
				words = []string{"", "", ""} // No statement that begins so does.
			}
			i += quotedEnd(rest)
		}
		if len(words) > 0 && !suspicious(words[0]) && strings.IndexByte(sql[i:], ';') < 0 {
			return false
		}
	}

	return isEnd(words, true)
}

// isEnd reports whether a statement that begins with these words, and has no others if it is whole,
// ends the transaction.
func isEnd(words []string, whole bool) bool {
	if len(words) == 0 {
		return false
	}
	switch words[0] {
	case "COMMIT", "END", "ABORT":
		return true
	case "PREPARE":
		return len(words) > 1 && words[1] == "TRANSACTION"
	case "ROLLBACK": // but ROLLBACK [WORK | TRANSACTION] TO …
		next := 1
		if len(words) > 1 && (words[1] == "WORK" || words[1] == "TRANSACTION") {
			next = 2
		}

		return len(words) > next && words[next] != "TO" || len(words) == next && whole
	default:
		return false
	}
}

func suspicious(word string) bool {
	return word == "COMMIT" || word == "END" || word == "ABORT" || word == "PREPARE" || word == "ROLLBACK"
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= 0x80
}

func wordEnd(s string) int {
	n := 1
	for n < len(s) && (isWordByte(s[n]) || s[n] == '$') {
		n++
	}

	return n
}

// nextIs reports whether s begins with c or ends, white space aside.
func nextIs(s string, c byte) bool {
	s = strings.TrimLeft(s, " \t\n\v\f\r")

	return s == "" || s[0] == c
}

func lineEnd(s string) int {
	if n := strings.IndexAny(s, "\n\r"); n >= 0 {
		return n + 1
	}

	return len(s)
}

// commentEnd returns the length of a comment, which may hold others.
func commentEnd(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			i++
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}

	return len(s)
}

// quotedEnd returns the length of what begins with a quote, or 1.
func quotedEnd(s string) int {
	switch s[0] {
	case '\'':
		return stringEnd(s, false)
	case '"':
		if n := strings.IndexByte(s[1:], '"'); n >= 0 {
			return n + 2
		}

		return len(s)
	case '$':
		tag := 1
		for tag < len(s) && isWordByte(s[tag]) {
			tag++
		}
		if tag == len(s) || s[tag] != '$' {
			return 1
		}
		quote := s[:tag+1]
		if n := strings.Index(s[len(quote):], quote); n >= 0 {
			return len(quote) + n + len(quote)
		}

		return len(s)
	default:
		return 1
	}
}

// stringEnd returns the length of a string, in which a backslash may hide a quote. Such a one goes on behind two quotes, and in
// a further line.
func stringEnd(s string, backslashes bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && backslashes:
			i++
		case s[i] == '\'' && backslashes && continues(s[i+1:]) > 0:
			i += continues(s[i+1:])
		case s[i] == '\'':
			return i + 1
		}
	}

	return len(s)
}

// continues returns the length of what lies between two parts of a string and the quote of the second: nothing, or white space
// with the end of a line in it, and comments. It is 0 where there is no second part.
func continues(s string) int {
	line := false
	for i := 0; i < len(s); {
		switch n := lineEnd(s[i:]); {
		case s[i] == '\'' && (line || i == 0):
			return i + 1
		case strings.HasPrefix(s[i:], "--"):
			i += n
			line = true
		case s[i] == ' ' || s[i] >= '\t' && s[i] <= '\r':
			line = line || n == 1
			i++
		default:
			return 0
		}
	}

	return 0
}
