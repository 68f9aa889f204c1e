package port

import (
	"fmt"
	"maps"
	"sync"

	"capstan/core/pbx"
)

// Hosts knows the addresses of the domain's hosts, from the configuration. Its
// Resolve is what a [Config] takes.
type Hosts struct {
	mu    sync.Mutex
	addrs map[string]string
}

// NewHosts makes Hosts of host names and their addresses, "ip:port".
func NewHosts(addrs map[string]string) *Hosts {
	h := &Hosts{}
	h.Set(addrs)
	return h
}

// Set replaces all addresses.
func (h *Hosts) Set(addrs map[string]string) {
	h.mu.Lock()
	h.addrs = maps.Clone(addrs)
	h.mu.Unlock()
}

// Resolve is the address of a host.
func (h *Hosts) Resolve(host string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	addr, ok := h.addrs[host]
	if !ok {
		return "", fmt.Errorf("%w: %q has no address in the configuration", pbx.ErrUnknownHost, host)
	}
	return addr, nil
}
