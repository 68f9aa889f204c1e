package pbx

import (
	"fmt"
	"strings"
)

// Addr is where a service is: "host/service" for a daemon's, and
// "host/role/job/try/n" for a job's process.
type Addr string

// At is the address of a daemon's service.
func At(host, service string) Addr { return Addr(host + "/" + service) }

// ProcessAt is the address of a job's process: the nth of its role in that try.
func ProcessAt(host, role string, job int64, try, n int) Addr {
	return Addr(fmt.Sprintf("%s/%s/%d/%d/%d", host, role, job, try, n))
}

// Host is the host part.
func (a Addr) Host() string { h, _, _ := strings.Cut(string(a), "/"); return h }

// Service is the part that names the service on its host.
func (a Addr) Service() string { _, s, _ := strings.Cut(string(a), "/"); return s }

// Role is the role that answers at the address.
func (a Addr) Role() string { r, _, _ := strings.Cut(a.Service(), "/"); return r }
