package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Type is the type of a setting with Kafka's number for it (ConfigType of DescribeConfigs).
type Type int8

// The types that rows have, with the numbers of the protocol.
const (
	Boolean  Type = 1
	String   Type = 2
	Int      Type = 3
	Short    Type = 4
	Long     Type = 5
	Double   Type = 6
	List     Type = 7
	Class    Type = 8
	Password Type = 9
)

var typeNames = map[Type]string{
	Boolean: "boolean", String: "string", Int: "int", Short: "short", Long: "long",
	Double: "double", List: "list", Class: "class", Password: "password",
}

func (t Type) String() string { return typeNames[t] }

// Mode says whether a broker setting can change while the broker runs.
type Mode uint8

// What can change how. The names are those of Kafka's documentation.
const (
	ReadOnly    Mode = iota // at a start only
	PerBroker               // one broker at a time
	ClusterWide             // one broker, or all of them
)

func (m Mode) String() string {
	return [...]string{"read-only", "per-broker", "cluster-wide"}[m]
}

// Setting is one row of the table.
type Setting struct {
	Name    string
	Type    Type
	Unit    string // "ms", "bytes", "hours"...; "" where there is none
	Default string // in the form of a file
	NoValue bool   // there is no default: Kafka's null
	Valid   valid  // the zero valid allows everything of the type
	Mode    Mode   // brokers' settings only
	Doc     string

	// Synonyms are, of a broker's setting, those that mean the same in other units,
	// itself among them, strongest first; of a topic's setting, the broker's settings
	// that give its default.
	Synonyms []string

	NoEffect bool   // accepted, stored and shown, but nothing follows from it yet
	Fixed    bool   // Kafka changes it while running (Mode says how), this broker does not yet
	NotBuilt string // what is not built that other values than the default ask for; "" where all is
	Internal bool   // not in the documentation, and shown only where it is set
	Ours     bool   // Kafka has no such name
}

// value is a parsed value; which field holds it follows from the type.
type value struct {
	n    int64 // Int, Short, Long
	f    float64
	b    bool
	s    string
	list []string
}

// valid is a range or a set of values, and how it is described.
type valid struct {
	text  string
	check func(v value) string // what is wrong, "" where nothing is
}

func atLeast(min int64) valid {
	return valid{fmt.Sprintf("%d or more", min), func(v value) string {
		if v.n < min {
			return fmt.Sprintf("it must be at least %d", min)
		}
		return ""
	}}
}

func between(min, max int64) valid {
	return valid{fmt.Sprintf("%d to %d", min, max), func(v value) string {
		if v.n < min || v.n > max {
			return fmt.Sprintf("it must be between %d and %d", min, max)
		}
		return ""
	}}
}

func betweenOr(min, max, or int64) valid {
	return valid{fmt.Sprintf("%d to %d, or %d", min, max, or), func(v value) string {
		if v.n != or && (v.n < min || v.n > max) {
			return fmt.Sprintf("it must be between %d and %d, or %d", min, max, or)
		}
		return ""
	}}
}

// unlimitedOr allows -1 and less, which mean no limit, and from 1 on.
func unlimitedOr() valid {
	return valid{"1 or more, or -1 for no limit", func(v value) string {
		if v.n == 0 {
			return "it must be at least 1, or -1 for no limit"
		}
		return ""
	}}
}

func fraction() valid {
	return valid{"0 to 1", func(v value) string {
		if !(v.f >= 0 && v.f <= 1) {
			return "it must be between 0 and 1"
		}
		return ""
	}}
}

func oneOf(words ...string) valid {
	text := strings.Join(words, ", ")
	return valid{text, func(v value) string {
		if !slices.Contains(words, v.s) {
			return "it must be one of " + text
		}
		return ""
	}}
}

// oneOfFold is oneOf in whatever case.
func oneOfFold(words ...string) valid {
	v := oneOf(words...)
	return valid{v.text, func(parsed value) string { return v.check(value{s: strings.ToLower(parsed.s)}) }}
}

func someOf(words ...string) valid {
	text := strings.Join(words, ", ")
	return valid{"any of " + text, func(v value) string {
		for _, e := range v.list {
			if !slices.Contains(words, e) {
				return fmt.Sprintf("%q is not one of %s", e, text)
			}
		}
		return ""
	}}
}

// throttledReplicas is PARTITION:BROKER,... or * (Java: ThrottledReplicaListValidator).
func throttledReplicas() valid {
	return valid{"partition:broker,... or *", func(v value) string {
		if len(v.list) == 1 && v.list[0] == "*" {
			return ""
		}
		for _, e := range v.list {
			partition, broker, ok := strings.Cut(e, ":")
			if !ok || !digits(partition) || !digits(broker) {
				return fmt.Sprintf("%q is not PARTITION:BROKER; give a list of them, or *", e)
			}
		}
		return ""
	}}
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// parse reads a value as Kafka's ConfigDef does: spaces around it do not count.
func (s *Setting) parse(text string) (value, error) {
	v, problem := s.parseType(strings.TrimSpace(text))
	if problem == "" && s.Valid.check != nil {
		problem = s.Valid.check(v)
	}
	if problem != "" {
		if s.Type == Password {
			return v, fmt.Errorf("%s: %s", s.Name, problem)
		}
		return v, fmt.Errorf("%s=%s: %s", s.Name, text, problem)
	}
	return v, nil
}

func (s *Setting) parseType(text string) (v value, problem string) {
	var err error
	switch s.Type {
	case Boolean:
		v.b = strings.EqualFold(text, "true")
		if !v.b && !strings.EqualFold(text, "false") {
			return v, "it must be true or false"
		}
	case Int, Short, Long:
		bits := map[Type]int{Int: 32, Short: 16, Long: 64}[s.Type]
		if v.n, err = strconv.ParseInt(text, 10, bits); err != nil {
			return v, fmt.Sprintf("it must be a whole number of at most %d bits", bits)
		}
	case Double:
		if v.f, err = strconv.ParseFloat(text, 64); err != nil || math.IsNaN(v.f) {
			return v, "it must be a number"
		}
	case List:
		v.list = splitList(text)
	default:
		v.s = text
	}
	return v, ""
}

// splitList splits at commas, drops the spaces around elements and every element that
// was there before (Kafka stops where a list names something twice; the first is meant).
func splitList(text string) []string {
	if text == "" {
		return nil
	}
	var list []string
	for e := range strings.SplitSeq(text, ",") {
		if e = strings.TrimSpace(e); !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	return list
}

// text is how DescribeConfigs writes the value (Java: ConfigDef.convertToString).
func (s *Setting) text(v value) string {
	switch s.Type {
	case Boolean:
		return strconv.FormatBool(v.b)
	case Int, Short, Long:
		return strconv.FormatInt(v.n, 10)
	case Double:
		return doubleText(v.f)
	case List:
		return strings.Join(v.list, ",")
	}
	return v.s
}

// doubleText writes a double as Java does: always with a fraction, and with an
// exponent outside 1e-3 to 1e7.
func doubleText(f float64) string {
	if abs := math.Abs(f); f == 0 || abs >= 1e-3 && abs < 1e7 {
		text := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exponent)
	return mantissa + "E" + strconv.Itoa(n)
}
