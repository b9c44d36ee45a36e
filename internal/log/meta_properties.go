package log

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/vfs"
)

const (
	metaPropertiesFile     = "meta.properties"
	metaPropertiesBytesMax = 64 << 10
	metaPropertiesVersion  = 1
	metaPropertiesAdvice   = "restore it from a backup; where the directory holds nothing to keep, empty it and it is formatted again"

	// moldauFormat is the version of what a data directory of ours holds beside Kafka's
	// files. A directory without the key was formatted by Apache Kafka.
	moldauFormat = 1
)

// metaProperties says whose a data directory is. Java: MetaProperties, version 1.
type metaProperties struct {
	ClusterID   string // "" while the directory belongs to no cluster yet
	NodeID      ids.NodeID
	DirectoryID ids.DirectoryID
	Format      int // moldau.format; 0: Apache Kafka formatted the directory

	unknown []property // keys of others, kept when the file is written again
}

type property struct{ key, value string }

// writeMetaProperties replaces the file and makes it durable.
func writeMetaProperties(fsys vfs.FS, dir string, m metaProperties) error {
	return writeFileAtomic(fsys, dir, metaPropertiesFile, m.encode())
}

// readMetaProperties returns found false where a directory has no such file.
func readMetaProperties(fsys vfs.FS, dir string) (m metaProperties, found bool, err error) {
	content, err := readSmallFile(fsys, dir, metaPropertiesFile, metaPropertiesBytesMax)
	if err != nil || content == nil {
		return metaProperties{}, false, err
	}
	m, err = decodeMetaProperties(content)
	if err != nil {
		return metaProperties{}, true, damaged(dir, metaPropertiesFile, metaPropertiesAdvice, err)
	}
	return m, true, nil
}

func (m metaProperties) encode() []byte {
	all := []property{{"node.id", strconv.Itoa(int(m.NodeID))}, {"version", strconv.Itoa(metaPropertiesVersion)}}
	if m.ClusterID != "" {
		all = append(all, property{"cluster.id", m.ClusterID})
	}
	if !m.DirectoryID.IsZero() {
		all = append(all, property{"directory.id", m.DirectoryID.String()})
	}
	if m.Format != 0 {
		all = append(all, property{"moldau.format", strconv.Itoa(m.Format)})
	}
	all = append(all, m.unknown...)
	slices.SortFunc(all, func(x, y property) int { return strings.Compare(x.key, y.key) }) // as Java's store does
	var b []byte
	for _, p := range all {
		b = appendPropertyText(b, p.key, true)
		b = append(b, '=')
		b = appendPropertyText(b, p.value, false)
		b = append(b, '\n')
	}
	return b
}

func decodeMetaProperties(content []byte) (metaProperties, error) {
	props, err := parseProperties(content)
	if err != nil {
		return metaProperties{}, err
	}
	m := metaProperties{NodeID: ids.NoNode}
	version := ""
	for _, p := range props {
		if p.key == "version" {
			version = p.value
			continue
		}
		if err := m.set(p); err != nil {
			return metaProperties{}, err
		}
	}
	if version != strconv.Itoa(metaPropertiesVersion) {
		return metaProperties{}, fmt.Errorf("its version is %q and this release knows version %d alone", version, metaPropertiesVersion)
	}
	if m.NodeID < 0 {
		return metaProperties{}, errors.New("it has no node.id")
	}
	return m, nil
}

func (m *metaProperties) set(p property) error {
	var err error
	switch p.key {
	case "cluster.id":
		m.ClusterID = p.value
	case "node.id":
		var n int64
		if n, err = strconv.ParseInt(p.value, 10, 32); err != nil || n < 0 {
			return fmt.Errorf("its node.id %q is no number of 0 or more", p.value)
		}
		m.NodeID = ids.NodeID(n)
	case "directory.id":
		if m.DirectoryID, err = ids.ParseUUID(p.value); err != nil {
			return fmt.Errorf("its directory.id: %w", err)
		}
	case "moldau.format":
		n, err := strconv.Atoi(p.value)
		if err != nil || n < 1 {
			return fmt.Errorf("its moldau.format %q is no number of 1 or more", p.value)
		}
		if n > moldauFormat {
			return fmt.Errorf("its moldau.format is %d and this release knows up to %d: a later release wrote it", n, moldauFormat)
		}
		m.Format = n
	default:
		m.unknown = append(m.unknown, p)
	}
	return nil
}

// parseProperties reads the text form of java.util.Properties: comments, separators '=', ':'
// or blank, backslash escapes and lines continued by a backslash. The last of equal keys wins.
func parseProperties(content []byte) ([]property, error) {
	if !utf8.Valid(content) {
		return nil, errors.New("it is not text")
	}
	var props []property
	at := make(map[string]int)
	for rest := string(content); rest != ""; {
		var line string
		line, rest = cutLogicalLine(rest)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		key, value := splitProperty(line)
		p := property{unescapeProperty(key), unescapeProperty(value)}
		if i, again := at[p.key]; again {
			props[i] = p
			continue
		}
		at[p.key] = len(props)
		props = append(props, p)
	}
	return props, nil
}

const propertyBlanks = " \t\f"

// cutLogicalLine takes one line with those that continue it, without leading blanks.
func cutLogicalLine(s string) (line, rest string) {
	for {
		end := strings.IndexAny(s, "\r\n")
		natural := s
		if end >= 0 {
			natural, s = s[:end], s[end+1:]
		} else {
			s = ""
		}
		line += strings.TrimLeft(natural, propertyBlanks)
		comment := line != "" && (line[0] == '#' || line[0] == '!')
		slashes := len(line) - len(strings.TrimRight(line, `\`))
		if comment || slashes%2 == 0 {
			return line, s
		}
		line = line[:len(line)-1]
		if s == "" {
			return line, s
		}
	}
}

// splitProperty parts key and value at the first separator that is not escaped.
func splitProperty(line string) (key, value string) {
	end := 0
	for end < len(line) && !strings.ContainsRune("=:"+propertyBlanks, rune(line[end])) {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(line))
	value = strings.TrimLeft(line[end:], propertyBlanks)
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = strings.TrimLeft(value[1:], propertyBlanks)
	}
	return line[:end], value
}

func unescapeProperty(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			if len(s)-i > 4 {
				if r, err := strconv.ParseUint(s[i+1:i+5], 16, 16); err == nil {
					b.WriteRune(rune(r))
					i += 4
					continue
				}
			}
			b.WriteByte('u')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// appendPropertyText escapes what parseProperties, and Java, would read as something else.
func appendPropertyText(b []byte, s string, key bool) []byte {
	for i, r := range s {
		switch {
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\f':
			b = append(b, `\f`...)
		case strings.ContainsRune(`\=:#!`, r), r == ' ' && (key || i == 0):
			b = append(b, '\\', byte(r))
		case r < ' ' || r > '~':
			b = appendEscapedRune(b, r)
		default:
			b = append(b, byte(r))
		}
	}
	return b
}

// appendEscapedRune writes UTF-16 units as \uXXXX: the file's own encoding does not matter then.
func appendEscapedRune(b []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		b = appendEscapedRune(b, 0xd800+r>>10)
		return appendEscapedRune(b, 0xdc00+r&0x3ff)
	}
	return fmt.Appendf(b, `\u%04X`, r)
}
