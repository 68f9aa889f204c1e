// Package arrows imports what core may not know.
package arrows

import (
	_ "bytes"
	_ "net"                // want `core may not import "net": it is not on the list of packages that only compute`
	_ "os"                 // want `core may not import "os"`
	_ "testing"            // want `core may not import "testing"`
	_ "capstan/core/maps"
	_ "capstan/sim/world"  // want `core may not import capstan/sim/world: it knows no other part of the module`
)
