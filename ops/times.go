package ops

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Seconds is a duration that is a number of seconds in JSON.
type Seconds time.Duration

// Duration returns it as a time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) }

// MarshalJSON writes the number without an exponent.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, s.Duration().Seconds(), 'f', -1, 64), nil
}

// UnmarshalJSON reads a number of seconds, to the microsecond.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	var n float64
	if err := json.Unmarshal(text, &n); err != nil {
		return err
	}
	*s = Seconds(math.Round(n*1e6) * 1e3)

	return nil
}

// lastTime is the last time that JSON can hold.
var lastTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// utc is a time that the database has told in microseconds.
func utc(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// unless is such a time, or nil where it is the number that stands for none.
func unless(none, micros int64) *time.Time {
	if micros == none {
		return nil
	}
	t := utc(micros)

	return &t
}

// retention is a duration that the database has told in microseconds.
func retention(micros int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Microsecond)

	return time.Duration(min(max(micros, -most), most)) * time.Microsecond
}
