package scenarios

import (
	"encoding"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWrittenForms(t *testing.T) {
	for _, c := range []struct {
		text string
		into encoding.TextUnmarshaler
		want any
	}{
		{"90s", new(Duration), Duration(90 * time.Second)},
		{"1d12h", new(Duration), Duration(36 * time.Hour)},
		{"2w", new(Duration), Duration(14 * day)},
		{"0", new(Duration), Duration(0)},
		{"4096", new(Size), Size(4096)},
		{"256KiB", new(Size), Size(256 << 10)},
		{"12TB", new(Size), Size(12e12)},
		{"400MBps", new(Rate), Rate(400e6)},
		{"400MB/s", new(Rate), Rate(400e6)},
		{"10Gbps", new(Rate), Rate(1.25e9)},
		{"00:00", new(Clock), Clock(0)},
		{"23:59", new(Clock), Clock(23*60 + 59)},
		{"all", new(Days), AllDays},
		{"mon-fri", new(Days), Days(0b0111110)},
		{"sat,sun", new(Days), Days(0b1000001)},
		{"fri-mon", new(Days), Days(0b1100011)},
		{"off", new(Timing), Timing(0)},
		{"real", new(Timing), Timing(1)},
		{"scale 60", new(Timing), Timing(60)},
	} {
		if err := c.into.UnmarshalText([]byte(c.text)); err != nil {
			t.Errorf("%T %q: %v", c.into, c.text, err)
		} else if got := deref(c.into); got != c.want {
			t.Errorf("%T %q = %v; want %v", c.into, c.text, got, c.want)
		}
	}
}

func deref(v any) any {
	switch v := v.(type) {
	case *Duration:
		return *v
	case *Size:
		return *v
	case *Rate:
		return *v
	case *Clock:
		return *v
	case *Days:
		return *v
	case *Timing:
		return *v
	}
	return nil
}

func TestWrongForms(t *testing.T) {
	for _, c := range []struct {
		into  encoding.TextUnmarshaler
		texts []string
	}{
		{new(Duration), []string{"", "10", "-3h", "d", "9999999999w", "1h2d", "200000w", "14 days"}},
		{new(Size), []string{"", "-1", "12 parsecs", "99999999PiB", "KiB"}},
		{new(Rate), []string{"", "ps", "400", "400MB", "-1MBps", "10Gb", "b/s"}},
		{new(Clock), []string{"", "24:00", "9:5", "12:60", "noon", "12:00:00"}},
		{new(Days), []string{"", "monday", "mon-", "mon,,tue", "mon tue"}},
		{new(Timing), []string{"", "scale", "scale 0", "scale -1", "scale 2.5", "scale 1e3", "2"}},
	} {
		for _, text := range c.texts {
			if err := c.into.UnmarshalText([]byte(text)); err == nil {
				t.Errorf("%T accepts %q as %v", c.into, text, deref(c.into))
			}
		}
	}
}

// What a value writes is what it reads.
func TestFormsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		roundTrip(t, Duration(rapid.Int64Min(0).Draw(t, "duration")))
		roundTrip(t, Size(rapid.Int64Range(0, 1<<53).Draw(t, "size")))
		roundTrip(t, Size(rapid.Int64Range(0, 1000).Draw(t, "n")<<(10*rapid.IntRange(0, 5).Draw(t, "unit"))))
		roundTrip(t, Rate(rapid.Int64Range(0, 1<<53).Draw(t, "rate")))
		roundTrip(t, Clock(rapid.IntRange(0, 24*60-1).Draw(t, "clock")))
		roundTrip(t, Days(rapid.Uint8Range(1, uint8(AllDays)).Draw(t, "days")))
		roundTrip(t, Timing(rapid.Int64Min(0).Draw(t, "timing")))
	})
}

func roundTrip[T interface {
	comparable
	encoding.TextMarshaler
}](t *rapid.T, v T) {
	text, err := v.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back T
	if err := any(&back).(encoding.TextUnmarshaler).UnmarshalText(text); err != nil {
		t.Fatalf("%v wrote %q: %v", v, text, err)
	}
	if back != v {
		t.Fatalf("%v wrote %q, which reads as %v", v, text, back)
	}
}
