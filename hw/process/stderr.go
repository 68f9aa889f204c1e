package process

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// maxLine is where a line of stderr is cut.
const maxLine = 4096

// stderrLog writes what a process prints, line by line, to the daemon's log, and
// remembers the line that says why it died: the runtime's "panic:" or "fatal
// error:", else the last.
type stderrLog struct {
	log *slog.Logger

	mu    sync.Mutex
	line  []byte
	fatal string
	last  string
}

func (s *stderrLog) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		s.line = append(s.line, line[:min(len(line), maxLine-len(s.line))]...)
		if whole {
			s.end()
		}
		p = rest
	}
	return n, nil
}

// end takes the line that is complete.
func (s *stderrLog) end() {
	line := strings.ToValidUTF8(string(s.line), "\ufffd")
	s.line = s.line[:0]
	if line == "" {
		return
	}
	if s.fatal == "" && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")) {
		s.fatal = line
	}
	s.last = line
	s.log.Warn("stderr", "line", line)
}

// flush takes a last line that no newline ends.
func (s *stderrLog) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
}

// reason is the line that best says why the process died, "" if it said nothing.
func (s *stderrLog) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fatal != "" {
		return s.fatal
	}
	return s.last
}
