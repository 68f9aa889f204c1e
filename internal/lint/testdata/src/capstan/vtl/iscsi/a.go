// Package iscsi is a socket, and exempt from the rules of either world.
package iscsi

import (
	_ "net"
	"sync"
)

func serve(mu *sync.Mutex) { go mu.Lock() }
