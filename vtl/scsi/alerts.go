package target

import "fmt"

// The TapeAlert flags that the units raise by themselves (SSC-5, annex A). The
// others can be raised by [Target.Alert].
const (
	alertHardError     = 3
	alertReadFailure   = 5
	alertWriteFailure  = 6
	alertWriteProtect  = 9
	alertCleanNow      = 20
	alertLoadFailure   = 55
	alertWORMOverwrite = 60
)

// alert raises a flag; one out of range is none.
func (s *server) alert(flag int) {
	if flag >= 1 && flag <= 64 {
		s.alerts |= 1 << (flag - 1)
	}
}

// named is the unit with a device's name.
func (t *Target) named(name string) (*server, error) {
	for _, s := range t.servers {
		if s.name == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("the target has no unit %q", name)
}
