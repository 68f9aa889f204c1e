// Package arrowstest is a conformance suite, and may use package testing.
package arrowstest

import (
	_ "os" // want `core may not import "os"`
	_ "testing"
)
