package pbx

import (
	"strconv"
	"strings"
)

// Addr is where a service is: "host/service" for a daemon's, and
// "host/role/job/try/n" for a job's process.
type Addr string

// At is the address of a daemon's service.
func At(host, service string) Addr { return Addr(host + "/" + service) }

// ProcessAt is the address of a job's process: the nth of its role in that try.
func ProcessAt(host, role string, job int64, try, n int) Addr {
	return Addr(host + "/" + ProcessService(role, job, try, n))
}

// ProcessService is the service part of [ProcessAt].
func ProcessService(role string, job int64, try, n int) string {
	b := make([]byte, 0, 64)
	b = append(append(b, role...), '/')
	b = append(strconv.AppendInt(b, job, 10), '/')
	b = append(strconv.AppendInt(b, int64(try), 10), '/')
	return string(strconv.AppendInt(b, int64(n), 10))
}

// Host is the host part.
func (a Addr) Host() string { h, _, _ := strings.Cut(string(a), "/"); return h }

// Service is the part that names the service on its host.
func (a Addr) Service() string { _, s, _ := strings.Cut(string(a), "/"); return s }

// Role is the role that answers at the address.
func (a Addr) Role() string { r, _, _ := strings.Cut(a.Service(), "/"); return r }
