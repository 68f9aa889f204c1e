// Package any puts worlds together and may know everybody.
package any

import (
	_ "capstan/hw/arrows"
	_ "capstan/sim/world"
	"time"
)

func now() time.Time { go now(); return time.Now() }
