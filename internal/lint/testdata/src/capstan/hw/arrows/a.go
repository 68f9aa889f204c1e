// Package arrows is of the real world and may not know the virtual one.
package arrows

import (
	_ "capstan/core/maps"
	_ "capstan/sim/world" // want `hw may not import capstan/sim/world: it knows only core`
	_ "os"
	_ "sync"
)
