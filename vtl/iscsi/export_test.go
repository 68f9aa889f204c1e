package iscsi

// InUse is the number of bytes that commands hold of the pool.
func (t *Target) InUse() int64 {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	return t.pool.used
}

// Sessions is the number of sessions.
func (t *Target) Sessions() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.sessions)
}

// Hold keeps requests that need a session's lock from going on until the function that it
// returns is called.
func (t *Target) Hold(tsih uint16) (release func()) {
	t.mu.Lock()
	s := t.sessions[tsih]
	t.mu.Unlock()
	s.mu.Lock()
	return s.mu.Unlock
}
