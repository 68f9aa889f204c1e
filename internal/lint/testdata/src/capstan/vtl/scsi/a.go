// Package scsi is pure, as all of vtl but iscsi.
package scsi

import _ "net" // want `vtl may not import "net"`

func serve() { go serve() }
