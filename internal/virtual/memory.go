package virtual

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// SpendMemory has garbage collected more rarely than is usual, as long as that
// needs no more than half of the machine's memory: a run makes much that is soon
// garbage, and keeps little. With 800 a night of a thousand clients takes an eighth
// less processor time than with 400, and 600 MB of memory, not 350. Whoever says GOGC
// or GOMEMLIMIT decides instead. It is for programs that do nothing but run worlds.
func SpendMemory() {
	var info unix.Sysinfo_t
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" || unix.Sysinfo(&info) != nil {
		return
	}
	debug.SetGCPercent(800)
	debug.SetMemoryLimit(int64(info.Totalram) * int64(info.Unit) / 2) //nolint:gosec // bytes of memory
}
