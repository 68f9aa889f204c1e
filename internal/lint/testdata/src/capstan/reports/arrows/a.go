// Package arrows is a report and may know core only.
package arrows

import (
	_ "capstan/core/maps"
	_ "capstan/hw/arrows" // want `reports may not import capstan/hw/arrows`
)
