package ids

import "testing"

func TestUUIDText(t *testing.T) {
	for range 1000 {
		u := NewUUID()
		s := u.String()
		if len(s) != 22 || s[0] == '-' {
			t.Fatalf("text of %x is %q", u, s)
		}
		back, err := ParseUUID(s)
		if err != nil || back != u {
			t.Fatalf("ParseUUID(%q) = %v, %v", s, back, err)
		}
	}
}

func TestParseUUIDRefuses(t *testing.T) {
	for _, s := range []string{"", "abc", "AAAAAAAAAAAAAAAAAAAAAA==", "!!!!!!!!!!!!!!!!!!!!!!", "AAAAAAAAAAAAAAAAAAAAAAAA"} {
		if u, err := ParseUUID(s); err == nil {
			t.Errorf("ParseUUID(%q) = %v, want an error", s, u)
		}
	}
}

func TestReserved(t *testing.T) {
	if !(UUID{15: 99}).Reserved() || (UUID{15: 100}).Reserved() || (UUID{0: 1}).Reserved() {
		t.Fatal("the reserved identifiers are 0 to 99")
	}
}

func TestTopicPartitionString(t *testing.T) {
	if got := (TopicPartition{"a-b", 12}).String(); got != "a-b-12" {
		t.Fatal(got)
	}
}
