package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Entry is one name and value as somebody wrote it, and where: FILE:LINE, a variable
// of the environment, or a flag.
type Entry struct {
	Name, Value string
	Where       string
}

// ReadProperties reads the format of java.util.Properties, in UTF-8: comments begin with
// # or !, a backslash at the end of a line continues it, =, : or a space ends a name,
// and \t \n \r \f \uXXXX are escapes.
func ReadProperties(file string, content []byte) ([]Entry, error) {
	var entries []Entry
	r := lineReader{rest: string(content)}
	for r.next() {
		name, value, err := splitProperty(r.line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, r.first, err)
		}
		entries = append(entries, Entry{Name: name, Value: value, Where: fmt.Sprintf("%s:%d", file, r.first)})
	}
	return entries, nil
}

// lineReader joins natural lines to logical ones and skips those that say nothing.
type lineReader struct {
	rest   string
	number int // of the natural line read last, from 1

	line  string // the logical line, its escapes still in it
	first int    // the natural line that it began on
}

func (r *lineReader) next() bool {
	for r.rest != "" {
		line := r.natural()
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		r.first = r.number
		var joined strings.Builder
		for continues(line) {
			joined.WriteString(line[:len(line)-1])
			line = r.natural()
		}
		joined.WriteString(line)
		if r.line = joined.String(); r.line != "" {
			return true
		}
	}
	return false
}

// natural takes one line and the blanks before its text away from the rest.
func (r *lineReader) natural() string {
	r.number++
	line := r.rest
	if i := strings.IndexAny(r.rest, "\r\n"); i < 0 {
		r.rest = ""
	} else {
		line, r.rest = r.rest[:i], strings.TrimPrefix(r.rest[i:], "\r")
		r.rest = strings.TrimPrefix(r.rest, "\n")
		if strings.HasPrefix(line, "\uFEFF") && r.number == 1 {
			line = line[len("\uFEFF"):]
		}
	}
	return strings.TrimLeft(line, " \t\f")
}

// continues tells whether an odd number of backslashes ends the line.
func continues(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

func splitProperty(line string) (name, value string, err error) {
	end := 0
	for end < len(line) && !strings.ContainsRune("=: \t\f", rune(line[end])) {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(line))
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	if name, err = unescape(line[:end]); err != nil {
		return "", "", err
	}
	if name == "" {
		return "", "", errors.New("there is no name before the value; write NAME=VALUE")
	}
	value, err = unescape(rest)
	return name, value, err
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			break // a backslash that nothing follows says nothing
		}
		if s[i] == 'u' {
			r, used, err := unescapeUnicode(s[i+1:])
			if err != nil {
				return "", err
			}
			out.WriteRune(r)
			i += used
			continue
		}
		if at := strings.IndexByte("tnrf", s[i]); at >= 0 {
			out.WriteByte("\t\n\r\f"[at])
		} else {
			out.WriteByte(s[i])
		}
	}
	return out.String(), nil
}

// unescapeUnicode reads what follows \u; two halves of a surrogate pair make one character.
func unescapeUnicode(s string) (r rune, used int, err error) {
	r, err = hexRune(s)
	if err != nil {
		return 0, 0, err
	}
	if utf16.IsSurrogate(r) && strings.HasPrefix(s[4:], `\u`) {
		low, err := hexRune(s[6:])
		if err != nil {
			return 0, 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != '\uFFFD' {
			return pair, 10, nil
		}
	}
	return r, 4, nil
}

func hexRune(s string) (rune, error) {
	if len(s) >= 4 {
		if n, err := strconv.ParseUint(s[:4], 16, 16); err == nil {
			return rune(n), nil
		}
	}
	return 0, errors.New(`four hexadecimal digits must follow \u`)
}
